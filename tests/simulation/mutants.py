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

from licensing import (
    activation,
    activation_keys,
    administration,
    alerts,
    allocations,
    companies,
    deactivation,
    log_cleanup,
    operations,
    orders,
    seat_use,
    seats,
    server_log,
    validation,
)
from licensing.http import requests
from licensing.rules import accounts as account_rules
from licensing.rules import alerts as alert_rules
from licensing.rules import allocations as allocation_rules
from licensing.rules import limits, retention, sequence
from licensing.rules import seat_use as seat_use_rules
from licensing.rules import seats as seat_rules
from licensing.store import accounts, activation_requests, seals, servers, tables
from licensing.store import activation_keys as key_store
from licensing.store import alerts as alert_store
from licensing.store import limits as limit_store
from licensing.store import operations as operation_store
from licensing.store import orders as order_store
from licensing.store import seats as seat_store
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
        servers.advance, "as_told &= ~slot.contains(entry.nonce_hash)", "pass",
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
        "a tax id and a code are taken whoever has them", "SettingUp",
        accounts._claims, "condition=ours", "condition=None",
    ),
    Mutant(
        "who was interrupted is taken for a stranger", "SettingUp",
        accounts._claims, "LookupItem.customer_id == after.customer.customer_id", "LookupItem.subject_id == subject",
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
        activation_requests.count_code_try, "asked.tries >= TRIES_PER_CODE or ", "",
    ),
    Mutant(
        "two who try a code at once are counted as one", "OneTimeCodes",
        activation_requests.count_code_try, "condition=RequestItem.tries == tries - 1", "condition=None",
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
    Mutant(
        "a segment is written at any version", "Seats",
        seat_store._unchanged, "SegmentItem.version == segment.version if segment.version else", "SegmentItem.pk.exists() |",
    ),
    Mutant(
        "seats are counted, and one more is given out", "Seats",
        seat_rules.lease, "len(live) >= segment.quota", "len(live) > segment.quota",
    ),
    Mutant(
        "a heartbeat does not look whether the lease has ended", "Seats",
        seat_store.renew, '(entry["u"] > now) & ', "",
    ),
    Mutant(
        "a heartbeat does not look whose seat it is", "Seats",
        seat_store.renew, '(entry["g"] == seat.generation) & ', "",
    ),
    Mutant(
        "a late heartbeat makes a lease shorter", "GrowingSeats",
        seat_store.renew, '(entry["u"] <= until) & ', "",
    ),
    Mutant(
        "a heartbeat ends what is borrowed", "Seats",
        seat_store.renew, '(entry["u"] <= until) & entry["b"].does_not_exist()', '(entry["u"] > now)',
    ),
    Mutant(
        "a seat is known again although its lease has ended", "Seats",
        seat_rules.holding, "segment.live(now).get(station)", "segment.entries.get(station)",
    ),
    Mutant(
        "a late release ends a newer lease", "Seats",
        seat_store.release, '(entry["g"] == seat.generation) & ', "",
    ),
    Mutant(
        "who looks at a seat does not look whose it is", "Seats",
        seat_rules.holding, "entry and entry.generation == generation", "entry",
    ),
    Mutant(
        "a closed module frees the seat of the others", "Seats",
        seat_store.release, ' & (size(entry["m"]) == 1)', "",
    ),
    Mutant(
        "a borrowed seat is released like any other", "Seats",
        seat_store.release, ' & entry["b"].does_not_exist()', "",
    ),
    Mutant(
        "an administrator releases what is borrowed", "Seats",
        seats.force_release, "if entry.borrowed:", "if False:",
    ),
    Mutant(
        "who borrows again stays longer", "Seats",
        seat_rules.borrow, "entry is None or entry.borrowed", "entry is None",
    ),
    Mutant(
        "a web module takes a seat of its own", "Seats",
        seats.lease, "if body.share_secret and", "if False and",
    ),
    Mutant(
        "a heartbeat opens a module that was closed", "SeveralModules",
        seat_store.renew, 'holds &= entry["m"][instance].exists()', "pass",
    ),
    Mutant(
        "a module that is not open frees the seat of the one that is", "SeveralModules",
        seat_store.release, 'entry["m"][instance].exists() & ', "",
    ),
    Mutant(
        "quota is taken back from a segment that changed", "ShrinkingSeats",
        seat_store.take_back, "_put_in(transaction, state.pool.pool_id, each, now)",
        "transaction.save(_segment_item(state.pool.pool_id, each, now))",
    ),
    Mutant(
        "quota is taken back to a pool that changed", "ShrinkingSeats",
        seat_store.take_back, "condition=_pool_unchanged(state)", "condition=PoolItem.pk.exists()",
    ),
    Mutant(
        "a support user has a place and a seat", "SupportUsers",
        seat_store.put_seats, "condition=_unchanged(apart)", "condition=SegmentItem.pk.exists() | SegmentItem.pk.does_not_exist()",
    ),
    Mutant(
        "a pool that was reduced gives out what becomes free", "Seats",
        seat_store.put_seats, "condition=PoolItem.undealt >= 0", "condition=PoolItem.pk.exists()",
    ),
    Mutant(
        "nobody is told that the pool was reduced", "Seats",
        seats._take_back, "guarded=True", "guarded=each.guarded",
    ),
    Mutant(
        "a pool is written at any version", "DividedSeats",
        seat_store._pool_unchanged, "PoolItem.version == state.version if state.version else", "PoolItem.pk.exists() |",
    ),
    Mutant(
        "a reduction is not owed", "Seats",
        seats._configure, "undealt=state.undealt + grown", "undealt=state.undealt + max(0, grown)",
    ),
    Mutant(
        "what was dealt out is dealt out again", "Seats",
        seats._deal, "undealt=state.undealt - sum(gain for _, gain in part)", "undealt=state.undealt",
    ),
    Mutant(
        "a pool is left half made", "Seats",
        seats._usable, "if state.unsettled:", "if False:",
    ),
    Mutant(
        "quota is taken from who sits on it", "DividedSeats",
        seat_rules.Segment.spare, "self.quota - len(self.live(now))", "self.quota",
    ),
    Mutant(
        "quota is taken, and given to nobody", "DividedSeats",
        seats._seat_from_elsewhere, "[given, wider.segment]", "[given, replace(wider.segment, quota=own.quota)]",
    ),
    Mutant(
        "a divided segment's free seats are doubled", "DividedSeats",
        seat_rules.split, "len(low) + over - over // 2", "len(low) + over",
    ),
    Mutant(
        "a segment is divided although it changed", "GrowingSeats",
        seat_store.put_split, "condition=SegmentItem.version == stays.version", "condition=SegmentItem.pk.exists()",
    ),
    Mutant(
        "seats stay where they were as a segment is divided", "DividedSeats",
        seat_rules.split, "if place(key, bits) == segment.index", "if True",
    ),
    Mutant(
        "a station's own segment is all that is looked at", "DividedSeats",
        seats._seat_from_elsewhere, "if own.bits == 0:", "if True:",
    ),
    Mutant(
        "the peak forgets who has left", "DividedSeats",
        seat_use._intervals, "[*shown, *store.intervals_since(pool_id, start)]", "shown",
    ),
    Mutant(
        "the peak counts who left as if they had stayed", "WatchedSeats",
        seat_use_rules.gone, "min(entry.until, at)", "entry.until",
    ),
    Mutant(
        "the peak does not look back at who was told of late", "DividedSeats",
        seat_use.record, "begin = min([earliest, *(each.since for each in intervals)])", "begin = earliest",
    ),
    Mutant(
        "two who look at the use at once overwrite each other", "WatchedSeats",
        seat_store.put_use, "UseItem.version == use.version if use.version else", "UseItem.pk.exists() |",
    ),
    Mutant(
        "a delivery that comes twice is logged twice", "Seats",
        seat_use._tell, "replace(told, operation_id=operations.operation_id(key, moment))", "told",
    ),
    Mutant(
        "a key is imported whatever was imported since", "ActivationKeys",
        key_store.put_current, "(CurrentKeyItem.version == version) & ", "",
    ),
    Mutant(
        "an older key supersedes a newer one", "ActivationKeys",
        activation_keys._require_importable, "if imported and key.serial < imported.key.serial:", "if False:",
    ),
    Mutant(
        "another group's key is taken", "ActivationKeys",
        activation_keys._require_importable, "if key.customer_id != customer_id:", "if False:",
    ),
    Mutant(
        "a key is imported again by each repeat", "ActivationKeys",
        activation_keys.import_key,
        "    if imported is None or imported.key.key_id != key.key_id:\n        with", "    if True:\n        with",
    ),
    Mutant(
        "a key is imported, and its pools are left to whoever comes", "Seats",
        activation_keys.import_key, "_follow(key, now)", "pass",
    ),
    Mutant(
        "a pool follows the key that a process remembers", "ActivationKeys",
        seats._usable, "activation_keys.current(caller.customer_id), pool_id, state)",
        "_key_of(caller.customer_id, now), pool_id, state)",
    ),
    Mutant(
        "a lease outlives its key", "ActivationKeys",
        seat_rules.Pool._until, "min(until, self.ends_at) if self.ends_at else until", "until",
    ),
    Mutant(
        "any company is seated", "ActivationKeys",
        companies.admit, "if tax_id not in key.companies:", "if False:",
    ),
    Mutant(
        "a key that has ended goes on", "ActivationKeys",
        seats._usable, 'if phase == "ended":', "if False:",
    ),
    Mutant(
        "companies are counted, and one more is set up", "ActivationKeys",
        key_store.add_company, "condition=room", "condition=CompaniesItem.pk.exists() | CompaniesItem.pk.does_not_exist()",
    ),
    Mutant(
        "a company that is there is counted again", "ActivationKeys",
        key_store.add_company, "condition=CompanyItem.pk.does_not_exist()", "condition=None",
    ),
    Mutant(
        "a company that is gone makes room again", "ActivationKeys",
        key_store.remove_company, "CompanyItem.pk.exists()", "CompanyItem.pk.exists() | CompanyItem.pk.does_not_exist()",
    ),
    Mutant(
        "a company needs no key", "ActivationKeys",
        companies._key_naming, "if tax_id not in imported.key.companies:", "if False:",
    ),
    Mutant(
        "a serial number is given twice", "ActivationKeys",
        key_store.put_issued, "condition=IssuedKeyItem.pk.does_not_exist()", "condition=None",
    ),
    Mutant(
        "a company of another group is named", "ActivationKeys",
        activation_keys._claim, "if owner != customer_id and", "if False and",
    ),
    Mutant(
        "a company that another group's key names is named", "ActivationKeys",
        key_store.claim_members, "condition=mine", "condition=None",
    ),
    Mutant(
        "a repeat resets the peak again", "ActivationKeys",
        seat_use.reset_peak, "if use.since >= at:", "if False:",
    ),
    Mutant(
        "alerts are claimed whatever was told since", "Alerts",
        alert_store.claim, "ToldItem.version == before.version if before.version else", "ToldItem.pk.exists() |",
    ),
    Mutant(
        "an alert is added to a part of a day that is closed", "ClosedParts",
        alert_store.claim, "condition=ClosedItem.pk.does_not_exist()",
        "condition=ClosedItem.pk.exists() | ClosedItem.pk.does_not_exist()",
    ),
    Mutant(
        "an end that moves between the look and the claim is told", "Alerts",
        alerts._Finder._claim, "check_in(transaction)", "pass",
    ),
    Mutant(
        "days without a run are told one by one", "Alerts",
        alert_rules.due, "*passed_over, step = open_steps", "step, *passed_over = open_steps",
    ),
    Mutant(
        "a step that was told is told again", "Alerts",
        alert_rules.due, "each > told", "each >= told",
    ),
    Mutant(
        "a customer that can't be looked at is left out", "Alerts",
        alerts._look_at, '_send([{"customer_id": customer_id}])', "pass",
    ),
    Mutant(
        "a customer's document that nobody expected holds up its part", "Alerts",
        alerts._look_at, "except Exception:", "except TemporarilyUnavailable:",
    ),
    Mutant(
        "who has no time left to look queues nothing", "Alerts",
        alerts._look_at_part, '_send([{"day": str(day), "shard": shard, "after": after}])', "pass",
    ),
    Mutant(
        "digests are made as soon as a part was looked at", "Alerts",
        alerts._look_at_part, "if len(store.close(day, shard, now)) == accounts.SHARDS:", "if store.close(day, shard, now):",
    ),
    Mutant(
        "a day that was left undone is forgotten", "Alerts",
        alerts.begin, "left = store.unfinished(today)", "left = []",
    ),
    Mutant(
        "a digest is made anew each time", "Alerts",
        alert_store.put_digest, "condition=DigestItem.pk.does_not_exist()", "condition=None",
    ),
    Mutant(
        "a digest is sent by whoever comes", "Alerts",
        alert_store.begin_sending, "DigestItem.sent_at.does_not_exist() & free", "DigestItem.sent_at.does_not_exist()",
    ),
    Mutant(
        "nobody notes that a digest was sent", "Alerts",
        alerts.send_digest, "store.end_sending(address, day, now, sent=True)", "pass",
    ),
    Mutant(
        "a renewed license is told of", "Alerts",
        alert_rules.still_ends, "day == alert.day and", "",
    ),
    Mutant(
        "who does without is told nevertheless", "Alerts",
        alert_rules.is_wanted, "alert.notification not in unsubscribed or", "True or",
    ),
    Mutant(
        "events are noted as published, and are not", "Alerts",
        alerts.publish, "for start in range(0, len(events), _BATCH):", "for start in range(0):",
    ),
    Mutant(
        "an entry of the stream is known by the time of its delivery", "Recording",
        server_log.record_change, "{event.action}", "{event.action} {now}",
    ),
    Mutant(
        "what comes late is told without looking whether it was told in time", "Recording",
        operations.record, "not store.exists(operation) and", "",
    ),
    Mutant(
        "what comes late leaves no mark", "Recording",
        operation_store.put_once, "transaction.save(mark, condition=OnceItem.pk.does_not_exist())", "pass",
    ),
    Mutant(
        "a change is told beside it, not with it", "Recording",
        administration._change_installation, "            record_in(transaction, told)\n", "",
    ),
    Mutant(
        "an order is written at any version", "Unlocking",
        order_store.put_in, "OrderItem.version == version if", "OrderItem.pk.exists() if",
    ),
    Mutant(
        "an order is unlocked without its licenses", "Unlocking",
        orders._unlock, "_write(before, after, also)", "_write(before, before, also)",
    ),
    Mutant(
        "an order that is unlocked is unlocked again", "Unlocking",
        orders._require_waiting, "if order.unlocked_at:", "if False:",
    ),
    Mutant(
        "tries of order numbers are not counted", "Unlocking",
        orders._unlock, "limit_store.count_try(limits.UNLOCKS, order_id, now)", "pass",
    ),
    Mutant(
        "quantities are changed, and nobody is told", "Unlocking",
        allocations._write, "recording(told)", "None",
    ),
    Mutant(
        "a locked license is assigned", "Unlocking",
        allocation_rules.assign, 'license is None or license.state == "locked" or', "license is None or",
    ),
)  # fmt: skip
