"""The HTTP contract of the operation log: reading, verifying, retention, what it holds of a person (api.md, "User")."""

from datetime import date, datetime
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from licensing.contract import Answer, Body
from licensing.contract_customers import ContactAnswer, MemberAnswer
from licensing.rules.operations import ActorKind
from licensing.rules.retention import LONGEST_DAYS, SHORTEST_DAYS
from licensing.rules.seals import Fault

_OPERATION = {
    "operation_id": "op_019a9c0f2d00c5a1b2d3e4f5a6b7c8d9",
    "at": "2026-11-22T12:00:00Z",
    "actor_kind": "customer",
    "actor_id": "3f1c6e0a-7b59-4f0e-9a51-0c9f4d1e2b3a",
    "actor_name": "Giulia Ferrario",
    "address": "192.0.2.7",
    "action": "installation.disabled",
    "subject_id": "ins_019a9c0f2d00d4",
    "result": "DONE",
    "request_id": "5f1d2c7e-6f0b-4a39-8f25-3e1a9d7c6b54",
    "details": {},
}


def _example(example: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [example]})


class RetentionChange(Body):
    """For how many days operations are to be kept."""

    model_config = _example({"days": 90})

    days: Annotated[int, Field(strict=True, ge=SHORTEST_DAYS, le=LONGEST_DAYS)]


class ShorteningAnswer(Answer):
    """A shorter retention that is announced, and from when it holds."""

    days: int
    since: datetime


class RetentionAnswer(Answer):
    """For how many days operations are kept. ``shortening`` is announced by e-mail: until it holds, it can be taken back."""

    model_config = _example({"days": 365, "shortening": {"days": 90, "since": "2026-11-29T12:00:00Z"}})

    days: int
    shortening: ShorteningAnswer | None


class OperationAnswer(Answer):
    """One entry of the log. ``actor_name`` and ``address`` are empty where there were none, and where they were erased."""

    operation_id: str
    at: datetime
    actor_kind: ActorKind
    actor_id: str
    actor_name: str
    address: str
    action: str
    subject_id: str
    result: str
    request_id: str
    details: dict[str, str | int]


class OperationList(Answer):
    """A page of the log, newest first. Where filters leave little it is short, even empty, and still goes on."""

    model_config = _example({"items": [_OPERATION], "next_cursor": None})

    items: list[OperationAnswer]
    next_cursor: str | None


class FindingAnswer(Answer):
    """Something that does not fit a day's seal; ``operation_id`` is empty where no single entry can be named."""

    day: date
    fault: Fault
    operation_id: str


class VerificationAnswer(Answer):
    """What a look at a range found. ``intact``: nothing does not fit; where ``days`` is 0, no day of the range is sealed yet, and
    nothing was looked at. ``open_from`` is the first day that is not sealed yet; ``cut_days`` were deleted by retention;
    ``erased`` counts entries without their personal part: compare the operations ``log.personal_data_erased``. ``next_from`` is
    where to go on: one answer looks at a month or ten thousand operations, whichever is less.
    """

    model_config = _example(
        {"intact": False, "days": 30, "cut_days": 0, "operations": 412, "erased": 0, "open_from": "2026-11-20",
         "next_from": None, "findings": [
             {"day": "2026-11-02", "fault": "altered", "operation_id": "op_019a9c0f2d00c5a1b2d3e4f5a6b7c8d9"}]}
    )  # fmt: skip

    intact: bool
    days: int
    cut_days: int
    operations: int
    erased: int
    open_from: date | None
    next_from: date | None
    findings: list[FindingAnswer]


class PersonalDataAnswer(Answer):
    """What is kept of a customer's people: accounts, contacts, and what they did, newest first, in pages."""

    model_config = _example(
        {"people": [{"user_id": _OPERATION["actor_id"], "name": "Giulia Ferrario", "roles": ["administrator"],
                     "email": "giulia@officinelombarde.example"}],
         "contacts": [], "operations": [_OPERATION], "next_cursor": None}
    )  # fmt: skip

    people: list[MemberAnswer]
    contacts: list[ContactAnswer]
    operations: list[OperationAnswer]
    next_cursor: str | None


class ErasedAnswer(Answer):
    """From how many entries name and address were erased. ``next_from`` is where to go on, by ``from``."""

    model_config = _example({"erased": 3, "next_from": None})

    erased: int
    next_from: date | None
