"""From what was decided to the answer that a server gets, with its server token or its verdict."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import datetime
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter

from licensing import deployment, tokens
from licensing.contract import (
    CustomerName,
    DatabaseDay,
    EntitlementAnswer,
    InstallationName,
    MessageAnswer,
    ValidationAnswer,
)
from licensing.key_ring import ring
from licensing.rules import heartbeat
from licensing.rules.entitlements import Entitlement, Message, Standing, messages
from licensing.rules.guards import Verdict
from licensing.rules.reports import Report
from licensing.rules.sequence import ServerState, Step
from licensing.rules.vendor import Vendor
from licensing.rules.versions import agent_older
from licensing.texts import Say, english, mark


def yes(
    standing: Standing,
    vendor: Vendor,
    state: ServerState,
    step: Step,
    nonce: str,
    jkt: str | None,
    now: datetime,
    *,
    first: bool = False,
    notes: Sequence[Message] = (),
    say: Say = english,
) -> ValidationAnswer:
    """The answer to a success. All that the token says follows from when its sequence was first given (``step.at``)."""
    report = state.report
    zone = report.time_zone
    before = heartbeat.validate_before(step.at, zone)
    following = heartbeat.next_validation(standing.installation_id, step.at, zone, vendor.window)
    entitlements = [entitlement(standing, each) for each in standing.usable(now, report.app_version, vendor.releases)]
    grant = tokens.Grant(
        installation_id=standing.installation_id,
        customer_id=standing.customer_id,
        gen=step.gen,
        seq=step.seq,
        issued_at=step.at,
        validate_before=before,
        next_validation_at=following,
        nonce=nonce,
        jkt=jkt,
        fingerprint=report.fingerprint,
        mode=standing.mode,
        time_zone=zone,
        entitlements=in_token(entitlements),
    )
    return ValidationAnswer(
        valid=True,
        code="VALID",
        final=False,
        detail=say(mark("First validation") if first else mark("Operation completed")),
        first_validation=first,
        server_token=tokens.server_token(ring, deployment.issuer(), grant, vendor, now),
        next_validation_at=following,
        validate_before=before,
        server_time=now,
        nonce=nonce,
        customer=_customer(standing),
        installation=_installation(standing),
        databases=[
            DatabaseDay(name=name, activated_at=state.databases[name])
            for name in report.databases
            if name in state.databases
        ],
        log_retention_days=standing.log_retention.in_force(now),
        entitlements=entitlements,
        messages=[_message(each, say) for each in (*notes, *_messages(standing, vendor, report, now))],
    )


def no(
    verdict: Verdict,
    standing: Standing | None,
    vendor: Vendor,
    token: tokens.ServerToken,
    report: Report,
    nonce: str,
    now: datetime,
    say: Say = english,
) -> ValidationAnswer:
    """The answer to a refusal. The server asks again at its usual time: what stands in its way may be mended."""
    return ValidationAnswer(
        valid=False,
        code=verdict.code,
        final=verdict.final,
        detail=say(verdict.detail),
        first_validation=False,
        verdict=tokens.verdict(ring, deployment.issuer(), token, nonce, verdict, now),
        next_validation_at=heartbeat.next_validation(token.installation_id, now, report.time_zone, vendor.window),
        validate_before=None,
        server_time=now,
        nonce=nonce,
        customer=_customer(standing) if standing else None,
        installation=_installation(standing) if standing else None,
        databases=[],
        log_retention_days=standing.log_retention.in_force(now) if standing else 365,
        entitlements=[],
        messages=[_message(each, say) for each in (_messages(standing, vendor, report, now) if standing else ())],
    )


def entitlement(standing: Standing, each: Entitlement) -> EntitlementAnswer:
    """An entitlement as it is answered."""
    return EntitlementAnswer(
        license_code=each.license_code,
        application=each.application,
        name=each.name,
        unit=each.unit,
        quantity=each.quantity,
        type=each.type,
        care=each.care,
        care_until=each.care_until,
        first_day=each.first_day,
        last_day=each.last_day,
        modules=list(each.modules),
        cloud_services=each.cloud_services,
        pool_id=each.pool_id,
        starts_at=standing.starts_at(each),
        ends_at=standing.ends_at(each),
    )


def in_token(entitlements: Sequence[EntitlementAnswer]) -> list[dict[str, Any]]:
    """The same, short: what has begun needs no beginning, and what does not apply is left out. A token travels each day."""
    dumped = _entitlements().dump_python(entitlements, mode="json", exclude={"__all__": {"first_day", "starts_at"}})
    return [{name: value for name, value in each.items() if value not in (None, [], False)} for each in dumped]


@lru_cache
def _entitlements() -> TypeAdapter[Sequence[EntitlementAnswer]]:
    return TypeAdapter(Sequence[EntitlementAnswer])


def _customer(standing: Standing) -> CustomerName:
    return CustomerName(name=standing.customer_name, tax_id=standing.tax_id)


def _installation(standing: Standing) -> InstallationName:
    return InstallationName(installation_id=standing.installation_id, name=standing.name, mode=standing.mode)


def _messages(standing: Standing, vendor: Vendor, report: Report, now: datetime) -> Iterator[Message]:
    if vendor.agent.latest and agent_older(report.agent_version, vendor.agent.latest):
        detail = mark("License Manager {version} is available; this server runs {runs}.")
        version, url = vendor.agent.latest, vendor.agent.download_url
        yield Message("AGENT_UPDATE_AVAILABLE", detail, version=version, url=url, facts={"runs": report.agent_version})
    yield from messages(
        standing, now, notice_days=vendor.notice_days, app_version=report.app_version, releases=vendor.releases
    )


def _message(message: Message, say: Say) -> MessageAnswer:
    members = {name: getattr(message, name) for name in _SHOWN}
    return MessageAnswer(**{**members, "detail": say(message.detail, **{**members, **message.facts})})


#: Of a message; ``facts`` are in its sentence only.
_SHOWN = tuple(each.name for each in fields(Message) if each.name != "facts")
