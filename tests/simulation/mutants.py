"""Bugs that we make on purpose: each must be found by its scenario, or the simulation proves nothing.

A mutant is a piece of the real code's text and what stands there instead. Where the code was changed so that the text is not
there any more, ``applied`` says so: mend the mutant with it.
"""

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any, cast

from licensing import activation, deactivation, log_cleanup, validation
from licensing.http import requests
from licensing.rules import accounts as account_rules
from licensing.rules import limits, retention, sequence
from licensing.store import accounts, activation_requests, seals, servers, tables
from licensing.store import limits as limit_store
from licensing.store.idempotency import Idempotency


@dataclass(frozen=True)
class Mutant:
    """``old`` text of ``function`` and the ``new`` one in its place; ``scenario`` is to find out."""

    name: str
    scenario: str
    function: Callable[..., Any]
    old: str
    new: str

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the function be the mutant. Every importer sees it, since only its code is exchanged."""
        function = cast("FunctionType", self.function)
        text = textwrap.dedent(inspect.getsource(function))
        if text.count(self.old) != 1:
            raise LookupError(f"{self.name}: {self.old!r} is not, or not once, in {function.__qualname__}")
        names: dict[str, Any] = {}
        source = "from __future__ import annotations\n" + text.replace(self.old, self.new)
        exec(compile(source, f"<mutant: {self.name}>", "exec"), function.__globals__, names)
        real = function.__code__
        function.__code__ = names[function.__name__].__code__
        try:
            yield
        finally:
            function.__code__ = real


_FREE = "ServerItem.pk.exists() | ServerItem.pk.does_not_exist()"

MUTANTS = (
    Mutant(
        "a state is written without looking whether it changed since it was read", "ActivationRace",
        servers._unchanged, "ServerItem.version == version if version else ServerItem.pk.does_not_exist()", _FREE,
    ),
    Mutant(
        "one machine per installation is checked by nobody", "ActivationRace",
        sequence.activate, "if state.held and not same_machine(", "if False and not same_machine(",
    ),
    Mutant(
        "the same activation twice begins two generations", "ActivationRace",
        sequence.activate, "if begun in state.activations:", "if False:",
    ),
    Mutant(
        "an activation repeats its answer after the first validation too", "ActivationRace",
        sequence.activate, "state.held and state.seq == 0 and begun", "state.held and begun",
    ),
    Mutant(
        "an activation does not begin a generation", "ActivationRace",
        sequence.activate, "gen=state.gen + 1", "gen=max(1, state.gen)",
    ),
    Mutant(
        "an activation token is looked up, and not checked with the write", "ActivationRace",
        activation.activate_server, "accounts.check_activation_token_in(transaction, body.activation_token)", "pass",
    ),
    Mutant(
        "a failed condition is taken for success", "ActivationRace",
        tables.write, "raise ConditionFailed(failed) from error", "return None",
    ),
    Mutant(
        "a heartbeat does not look at the sequence", "Clones",
        servers.advance, "& (ServerItem.seq == seq)", "",
    ),
    Mutant(
        "a heartbeat does not look at the nonces", "Heartbeat",
        servers.advance, "as_told &= ~ServerItem.nonces[str(slot)].contains(entry.nonce_hash)", "pass",
    ),
    Mutant(
        "a nonce that was answered is not known again", "Heartbeat",
        sequence.decide, "if consumed.nonce_hash == known and", "if False and",
    ),
    Mutant(
        "a repeated validation is dated anew", "Heartbeat",
        sequence.decide, 'return step("repeat", consumed.seq, consumed.at)', 'return step("repeat", consumed.seq)',
    ),
    Mutant(
        "a validation is answered although its write failed", "Clones",
        validation.validate, "pass\n        else:\n            return",
        "state, _ = servers.get(token.installation_id)\n        if state:\n            return",
    ),
    Mutant(
        "a heartbeat does not look whether the installation is held", "ActivationRace",
        servers.advance, "& (ServerItem.held == True)  # noqa: E712  an expression, not a comparison", "",
    ),
    Mutant(
        "copies heal without end", "Clones",
        sequence.decide, "if len(recent_heals(state, now)) < _HEALS:", "if True:",
    ),
    Mutant(
        "a suspicion is forgotten", "Clones",
        validation.validate, "servers.put(token.installation_id, suspect(state, now), version, token.customer_id, by)", "pass",
    ),
    Mutant(
        "a heartbeat does not look whether a copy is suspected", "Clones",
        servers.advance, "& ServerItem.suspected_at.does_not_exist()", "",
    ),
    Mutant(
        "a lagging site is believed more than the server's token", "LaggingSite",
        sequence.decide, "if presented.seq >= state.seq:", "if presented.seq == state.seq:",
    ),
    Mutant(
        "a forgotten generation is taken for a foreign one", "RestoredTable",
        sequence.decide, "if presented.gen > state.gen:", "if False:",
    ),
    Mutant(
        "a late deactivation ends whoever holds the installation", "Handover",
        deactivation.deactivate, "elif token.gen < state.gen or not state.held:", "elif not state.held:",
    ),
    Mutant(
        "an activation reads, and then writes whatever it read", "ActivationRace",
        servers.put_in, "condition=_unchanged(version)", f"condition={_FREE}",
    ),
    Mutant(
        "the matrix is written at any version", "Allocations",
        accounts._write_part, "SheetItem.version == version if version", "SheetItem.pk.exists() if version",
    ),
    Mutant(
        "the matrix keeps its version", "Allocations",
        accounts._write_part, "version=version + 1", "version=max(1, version)",
    ),
    Mutant(
        "a disabled server keeps its quantities", "Allocations",
        account_rules.disable, "replace(license, allocations=kept, freed=freed)", "replace(license, freed=freed)",
    ),
    Mutant(
        "a projection is left behind", "Allocations",
        accounts._documents, 'before.standings if before else {}, projected)', "projected, projected)",
    ),
    Mutant(
        "requests are counted by reading and then writing", "Crowd",
        limit_store._admitted, "LimitItem.times == item.times if item", "LimitItem.pk.exists() if item",
    ),
    Mutant(
        "a code may be tried for ever", "OneTimeCodes",
        activation_requests.count_code_try, "(RequestItem.tries < TRIES_PER_CODE) & ", "",
    ),
    Mutant(
        "a limit lets one more through", "OneTimeCodes",
        limits.admit, "if len(recent) >= limit.count:", "if len(recent) > limit.count:",
    ),
    Mutant(
        "a ticket is used as often as one likes", "OneTimeCodes",
        activation_requests.use_ticket_in, "(RequestItem.used_for.does_not_exist() | (RequestItem.used_for == used_for))",
        "RequestItem.pk.exists()",
    ),
    Mutant(
        "a request is written, and its message is not sent", "OneTimeCodes",
        activation.request, "    mail.queue(deployment.activation_code_queue_url(), message)\n", "",
    ),
    Mutant(
        "an answer is kept without looking whether there is one", "Keys",
        Idempotency.keep_in, "AnswerItem.pk.does_not_exist() | expired", "AnswerItem.pk.exists() | AnswerItem.pk.does_not_exist()",
    ),
    Mutant(
        "a key does not look at the body", "Keys",
        Idempotency.replay, "if item.body_hash != self._body_hash:", "if False:",
    ),
    Mutant(
        "a twin that was faster is not asked for its answer", "Keys",
        requests.once, "        if answer is not written:", "        if False:",
    ),
    Mutant(
        "a day is cut although it is not over for the customer", "Retention",
        retention.last_day_past, "- timedelta(days=1)", "",
    ),
    Mutant(
        "who has no time left queues nothing", "Retention",
        log_cleanup.work, '_send({**message, "after": after})', "pass",
    ),
    Mutant(
        "a customer that fails is left out", "Retention",
        log_cleanup.work, '_send({"customer_id": customer_id})', "pass",
    ),
    Mutant(
        "a day is cut by whoever comes, again and again", "Retention",
        seals.cut_in, "SealItem.pk.exists() & SealItem.tombstone.does_not_exist()", "SealItem.pk.exists()",
    ),
    Mutant(
        "a day is sealed over its seal", "Retention",
        seals.put, "condition=SealItem.pk.does_not_exist()", "",
    ),
    Mutant(
        "no part of the directory is queued", "Retention",
        log_cleanup.fan_out, "range(accounts.SHARDS)", "range(0)",
    ),
)  # fmt: skip
