"""The daily validation (A4, A5, A7): one read, the guards, one conditional write, one signature."""

from collections.abc import Mapping
from datetime import datetime

from aws_lambda_powertools import Logger

from licensing import answers
from licensing.contract import Validation, ValidationAnswer
from licensing.operations import operation, record_refusal
from licensing.rules.entitlements import Message, Standing
from licensing.rules.guards import Facts, Verdict, judge
from licensing.rules.operations import ANYONE, Origin
from licensing.rules.reports import Report
from licensing.rules.sequence import Kind, Presented, ServerState, Step, decide, suspect, take
from licensing.rules.vendor import Vendor
from licensing.store import servers, standings
from licensing.store.tables import ConditionFailed, unraced
from licensing.store.vendor import cached as vendor_settings
from licensing.texts import Say, english, mark
from licensing.tokens import ServerToken

logger = Logger(child=True)

_RESTORED = Message(
    "BACKUP_RESTORED", mark("This server came back from an older state, such as a restored backup. It goes on.")
)
_CHANGED = Message(
    "FINGERPRINT_CHANGED", mark("Some of this machine's hardware or settings changed; it is recognized again.")
)


def validate(
    token: ServerToken,
    body: Validation,
    public_key: Mapping[str, str] | None,
    now: datetime,
    by: Origin = ANYONE,
    say: Say = english,
) -> ValidationAnswer:
    """Validate the server that presents ``token``; ``public_key`` is the one it proved to have.

    The usual case is settled by one conditional write that states what the token says. Only where that fails, or where a guard
    objects, the state is read and judged. A yes is recorded from the state's stream, behind the request; a no changes nothing that
    a stream would tell, and is recorded here.

    Raises TemporarilyUnavailable when a service behind us is in trouble; a retry with the same nonce changes nothing more.
    """
    report = body.report()
    presented = Presented(token.gen, token.seq, body.nonce, report, token.fingerprint, public_key)
    standing = standings.get(token.customer_id, token.installation_id)
    vendor = vendor_settings(now)

    def verdict(step: Kind) -> Verdict:
        return judge(Facts(standing, step, report.agent_version, report.app_version, vendor.policy, now))

    if standing is not None and verdict("advance").valid:
        step = Step("advance", token.gen, token.seq + 1, now)
        try:
            state = servers.advance(
                token.installation_id,
                gen=token.gen, seq=token.seq, nonce=body.nonce, report=report, usage=body.usage, by=by, now=now,
            )  # fmt: skip
        except ConditionFailed:
            pass
        else:
            return answers.yes(standing, vendor, state, step, body.nonce, token.jkt, now, say=say)

    def attempt() -> ValidationAnswer:
        state, version = servers.get(token.installation_id)
        step = decide(state, presented, now)
        outcome = verdict(step.kind)
        if outcome.valid and standing is not None:
            return _go_on(standing, vendor, state, version, step, presented, body.usage, token, by, now, say)
        if step.kind == "suspect" and state.suspected_at is None and outcome.code == "CLONE_SUSPECTED":
            servers.put(token.installation_id, suspect(state, now), version, token.customer_id, by)
        logger.info("refused", installation_id=token.installation_id, code=outcome.code, final=outcome.final)
        server = by.as_server(token.installation_id, standing.name if standing else "")
        told = operation(token.customer_id, server, "server.refused", now, token.installation_id, outcome.code)
        record_refusal(told, now)
        return answers.no(outcome, standing, vendor, token, report, body.nonce, now, say)

    return unraced(attempt)


def _go_on(
    standing: Standing,
    vendor: Vendor,
    state: ServerState,
    version: int,
    step: Step,
    presented: Presented,
    usage: Mapping[str, int],
    token: ServerToken,
    by: Origin,
    now: datetime,
    say: Say,
) -> ValidationAnswer:
    notes: list[Message] = []
    if step.kind != "repeat":
        before, state = state, take(state, step, presented)
        servers.put(token.installation_id, state, version, token.customer_id, by, usage)
        notes = _notes(step, before.report, presented, token)
    return answers.yes(standing, vendor, state, step, presented.nonce, token.jkt, now, notes=notes, say=say)


def _notes(step: Step, before: Report, presented: Presented, token: ServerToken) -> list[Message]:
    notes = []
    if step.kind == "heal":
        logger.warning("healed", installation_id=token.installation_id, presented_seq=token.seq, seq=step.seq)
        notes.append(_RESTORED)
    if before.fingerprint and dict(before.fingerprint) != dict(presented.report.fingerprint):
        changed = sorted(
            name
            for name in before.fingerprint.keys() | presented.report.fingerprint.keys()
            if before.fingerprint.get(name) != presented.report.fingerprint.get(name)
        )
        logger.warning("fingerprint_drift", installation_id=token.installation_id, components=changed)
        notes.append(_CHANGED)
    return notes
