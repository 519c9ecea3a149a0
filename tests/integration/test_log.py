"""The operation log as it is read, kept, cut and sealed (A9, F6)."""

import csv
import gzip
import json
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import boto3
import pytest
from licensing import administration, log_cleanup, operations, sealing
from licensing.errors import InvalidRequest, NotFound, TemporarilyUnavailable
from licensing.log_reading import Filters, export, list_operations
from licensing.rules.operations import Operation, Origin
from licensing.rules.seals import Finding
from licensing.store import operations as store
from licensing.store import people as people_store
from licensing.store import seals, tables
from licensing.store.operations import OperationItem
from licensing.store.seals import HeadItem, LeavesItem, SealItem

from infra.local.functions import FunctionFailed
from infra.local.template import REGION
from tests.integration.test_failures import faults
from tests.support import log_fleet
from tests.support.cloud import TAX_ID, VENDOR, Cloud, Server

ROME = ZoneInfo("Europe/Rome")
SERVER = Origin("server", "ins_1", "host-a", "192.0.2.1", "req-1")


@pytest.fixture(autouse=True)
def _unpaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_cleanup, "pause", lambda: None)
    monkeypatch.setenv("SITE", "primary")


@pytest.fixture
def customer(cloud: Cloud) -> str:
    """A customer in Rome that keeps 14 days of log, 40 days after it was made, with an empty log."""
    customer_id = administration.find_account(TAX_ID).customer.customer_id
    administration.set_log_retention(customer_id, 14, VENDOR, cloud.now)
    made = [stored.entry for stored in store.page(customer_id, cloud.now.date())]
    store.delete(customer_id, cloud.now.date(), made)
    midday = (cloud.now + timedelta(days=40)).replace(hour=12, minute=0, second=0)  # what is an hour old is of today
    cloud.stack.clock.advance(midday - cloud.now)
    HeadItem(f"LOG#{customer_id}", "HEAD", sealed_through=str((cloud.now - timedelta(days=30)).date())).save()
    return customer_id


def happened(customer_id: str, at: datetime, n: int = 0, by: Origin = SERVER, **changes: Any) -> Operation:
    """One more entry, as if it had been recorded when it happened."""
    told = Operation(
        operations.operation_id(f"{customer_id} {at} {n}", at),
        customer_id,
        at,
        by,
        changes.pop("action", "server.validated"),
        changes.pop("subject_id", "ins_1"),
        changes.pop("result", "DONE"),
        changes or {"seq": n},
    )
    assert store.put(told)
    return told


def daily(cloud: Cloud, customer_id: str, days: int, each: int = 1) -> list[Operation]:
    """Entries of the last days, oldest first; the last ones are an hour old."""
    begin = cloud.now - timedelta(hours=1)
    return [
        happened(customer_id, begin - timedelta(days=day, seconds=each - n), n)
        for day in reversed(range(days))
        for n in range(each)
    ]


def ids(found: Any) -> list[str]:
    return [each.operation_id for each in found]


def everything(customer_id: str, now: datetime, **options: Any) -> list[Operation]:
    found, cursor = [], None
    while True:
        page = list_operations(customer_id, now, cursor=cursor, **options)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


# ── reading ──


@pytest.mark.parametrize("limit", [1, 7])
@pytest.mark.parametrize("newest_first", [True, False])
def test_pages_give_everything_once_and_in_order(cloud: Cloud, customer: str, limit: int, newest_first: bool) -> None:
    told = daily(cloud, customer, days=5, each=3)
    sealing.seal_next(customer, cloud.now)
    found = everything(customer, cloud.now, limit=limit, newest_first=newest_first)
    assert ids(found) == ids(reversed(told) if newest_first else told)
    assert found[0] == (told[-1] if newest_first else told[0])


def test_both_sites_entries_are_one_list(cloud: Cloud, customer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    for n in range(6):
        monkeypatch.setenv("SITE", ("primary", "backup")[n % 2])
        told.append(happened(customer, cloud.now - timedelta(minutes=60 - n), n))
    assert ids(everything(customer, cloud.now, limit=2, newest_first=False)) == ids(told)


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        (Filters(action="installation."), [1]),
        (Filters(actor_kind="server"), [0, 2]),
        (Filters(subject_id="ins_2"), [2]),
        (Filters(result="EXPIRED"), [2]),
        (Filters(action="server.", result="EXPIRED", actor_id="ins_1"), [2]),
        (Filters(actor_id="nobody"), []),
    ],
)
def test_filters(cloud: Cloud, customer: str, filters: Filters, kept: list[int]) -> None:
    then = cloud.now - timedelta(hours=3)
    told = [
        happened(customer, then, 0),
        happened(customer, then + timedelta(hours=1), 1, VENDOR, action="installation.disabled"),
        happened(customer, then + timedelta(hours=2), 2, subject_id="ins_2", result="EXPIRED"),
    ]
    assert ids(everything(customer, cloud.now, filters=filters, newest_first=False)) == ids(told[n] for n in kept)
    assert [json.loads(line)["operation_id"] for line in export(customer, "jsonl", cloud.now, filters=filters)] == ids(
        told[n] for n in kept
    )


def test_since_and_until(cloud: Cloud, customer: str) -> None:
    told = daily(cloud, customer, days=6)
    found = everything(customer, cloud.now, since=told[1].at, until=told[4].at, newest_first=False)
    assert ids(found) == ids(told[1:4])


def test_a_page_that_filters_leave_empty_still_leads_on(
    cloud: Cloud, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("licensing.log_reading._MOST_EXAMINED", 4)
    told = daily(cloud, customer, days=3, each=3)
    page = list_operations(customer, cloud.now, filters=Filters(action="nothing"))
    assert page.items == ()
    assert page.next_cursor
    assert everything(customer, cloud.now, filters=Filters(action="nothing")) == []
    assert len(everything(customer, cloud.now)) == len(told)


def test_a_cursor_is_good_for_its_own_list_only(cloud: Cloud, customer: str) -> None:
    daily(cloud, customer, days=3)
    cursor = list_operations(customer, cloud.now, limit=1).next_cursor
    other = next(each for each in store_ids() if each != customer)
    for wrong in ({"filters": Filters(result="DONE")}, {"newest_first": False}, {"since": cloud.now}):
        with pytest.raises(InvalidRequest):
            list_operations(customer, cloud.now, cursor=cursor, **wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest):
        list_operations(other, cloud.now, cursor=cursor)
    with pytest.raises(NotFound):
        list_operations("cus_01a214d7ee24389994656881b672ee33", cloud.now)


def store_ids() -> list[str]:
    from licensing.store import accounts

    return accounts.all_customer_ids()


def test_reading_never_shows_what_is_older_than_the_customer_s_retention(cloud: Cloud, customer: str) -> None:
    midnight = (cloud.now.astimezone(ROME) - timedelta(days=14)).replace(hour=0, minute=0, second=0)
    too_old = happened(customer, midnight - timedelta(seconds=1))
    oldest = happened(customer, midnight)
    assert ids(everything(customer, cloud.now, since=too_old.at)) == [oldest.operation_id]
    assert len(list(export(customer, "jsonl", cloud.now))) == 1


def test_a_shorter_retention_shows_less_after_seven_days(cloud: Cloud, customer: str) -> None:
    old = happened(customer, cloud.now - timedelta(days=6))
    now = cloud.now
    retention = administration.set_log_retention(customer, 8, VENDOR, now)
    assert retention.shortening
    assert retention.shortening.since == now + timedelta(days=7)
    later = now + timedelta(days=7)
    assert old in everything(customer, later - timedelta(seconds=1))
    assert [each.action for each in everything(customer, later)] == ["log.retention_changed"]


def test_servers_are_told_the_retention_in_force(cloud: Cloud, server: Server) -> None:
    administration.set_log_retention(server.claims["cus"], 30, VENDOR, cloud.now)
    assert server.validate().json()["log_retention_days"] == 365
    cloud.stack.clock.advance(timedelta(days=7))
    assert server.validate().json()["log_retention_days"] == 30


# ── export ──


def test_csv_holds_nothing_that_a_spreadsheet_runs(cloud: Cloud, customer: str) -> None:
    for n, name in enumerate(["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", 'a "b", c', "ünïcode\nline"]):
        happened(customer, cloud.now - timedelta(minutes=20 - n), n, Origin("customer", "usr_1", name))
    lines = list(export(customer, "csv", cloud.now))
    rows = list(csv.DictReader("".join(lines).splitlines(keepends=True)))
    names = [row["actor_name"] for row in rows]
    assert names[:6] == ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\t=1", "'\r=1"]
    assert names[6:] == ['a "b", c', "ünïcode\nline"]
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_json_lines_hold_the_whole_operation(cloud: Cloud, customer: str) -> None:
    told = happened(customer, cloud.now - timedelta(hours=1), 7)
    [line] = export(customer, "jsonl", cloud.now)
    assert json.loads(line) == {
        "operation_id": told.operation_id, "at": f"{told.at:%Y-%m-%dT%H:%M:%SZ}", "actor_kind": "server",
        "actor_id": "ins_1", "actor_name": "host-a", "address": "192.0.2.1", "action": "server.validated",
        "subject_id": "ins_1", "result": "DONE", "request_id": "req-1", "details": {"seq": 7},
    }  # fmt: skip


def test_an_export_tells_its_progress(cloud: Cloud, customer: str) -> None:
    daily(cloud, customer, days=5, each=50)
    seen: list[tuple[int, date]] = []
    lines = list(export(customer, "csv", cloud.now, progress=lambda count, day: seen.append((count, day))))
    assert len(lines) == 251
    assert [count for count, _ in seen] == [100, 200]


# ── sealing ──


def seal_all(customer_id: str, now: datetime) -> int:
    return sum(iter(lambda: sealing.seal_next(customer_id, now), False))


def verified(customer_id: str, now: datetime, first: date = date.min) -> sealing.Verification:
    return sealing.verify(customer_id, first, now.date(), now)


def test_days_are_sealed_48_hours_after_they_ended(cloud: Cloud, customer: str) -> None:
    told = daily(cloud, customer, days=10, each=4)
    seal_all(customer, cloud.now)
    found = verified(customer, cloud.now)
    assert found.findings == ()
    assert found.open_from
    assert (found.days, found.entries) == (7, 28)
    assert found.open_from == told[-1].at.date() - timedelta(days=2)


@pytest.fixture
def sealed(cloud: Cloud, customer: str) -> list[Operation]:
    told = daily(cloud, customer, days=10, each=4)
    seal_all(customer, cloud.now)
    assert verified(customer, cloud.now).findings == ()
    return told


def item_of(told: Operation) -> OperationItem:
    return OperationItem.get(*store._key(told, told.at))


def tamper_action(told: Operation) -> None:
    item_of(told).update(actions=[OperationItem.action.set("server.deactivated")])


def tamper_details(told: Operation) -> None:
    item_of(told).update(actions=[OperationItem.details.set({"seq": 99})])


def tamper_person(told: Operation) -> None:
    item = item_of(told)
    item.personal = store.Personal("somebody else", "192.0.2.9", item.personal.salt)
    item.save()


def tamper_person_and_hash(told: Operation) -> None:
    item = item_of(told)
    item.personal = store.Personal("somebody else", "192.0.2.9", item.personal.salt)
    item.personal_hash = store.personal_hash(item.personal)
    item.save()


@pytest.mark.parametrize("tamper", [tamper_action, tamper_details, tamper_person, tamper_person_and_hash])
def test_an_entry_altered_behind_its_back_is_named(
    cloud: Cloud, customer: str, sealed: list[Operation], tamper: Callable[[Operation], None]
) -> None:
    tamper(sealed[9])
    assert verified(customer, cloud.now).findings == (
        Finding(str(sealed[9].at.date()), "altered", sealed[9].operation_id),
    )
    assert verified(customer, cloud.now, first=sealed[13].at.date()).findings == ()


def test_an_entry_removed_or_added_behind_its_back_is_named(
    cloud: Cloud, customer: str, sealed: list[Operation]
) -> None:
    item_of(sealed[9]).delete()
    extra = happened(customer, sealed[17].at, 99)
    in_silence = happened(customer, sealed[0].at - timedelta(days=3), 99)
    assert set(verified(customer, cloud.now).findings) == {
        Finding(str(sealed[9].at.date()), "removed", sealed[9].operation_id),
        Finding(str(extra.at.date()), "added", extra.operation_id),
        Finding(str(in_silence.at.date()), "added", in_silence.operation_id),
    }


def test_a_day_rewritten_with_its_leaves_does_not_fit_its_signed_root(
    cloud: Cloud, customer: str, sealed: list[Operation]
) -> None:
    tamper_action(sealed[9])
    day = sealed[9].at.date()
    leaves = {each.entry.place: sealing.rules.leaf(each.entry) for each in store.page(customer, day)}
    LeavesItem(f"LOG#{customer}", f"LEAVES#{day}#00000000", leaves=leaves).save()
    assert verified(customer, cloud.now).findings == (Finding(str(day), "seal_altered"),)


def test_a_seal_that_is_gone_with_all_its_day_breaks_the_chain(
    cloud: Cloud, customer: str, sealed: list[Operation]
) -> None:
    day = sealed[9].at.date()
    for told in sealed[8:12]:
        item_of(told).delete()
    SealItem(f"LOG#{customer}", f"SEAL#{day}").delete()
    assert set(verified(customer, cloud.now).findings) == {
        *(Finding(str(day), "removed", told.operation_id) for told in sealed[8:12]),
        Finding(str(day), "seal_missing"),
        Finding(str(day + timedelta(days=1)), "chain_broken"),
    }


def test_the_newest_seal_can_not_go_unnoticed(cloud: Cloud, customer: str, sealed: list[Operation]) -> None:
    newest = seals.seals(customer)[-1]
    for stored in store.page(customer, date.fromisoformat(newest.day)):
        item_of(stored.operation).delete()
    SealItem(f"LOG#{customer}", f"SEAL#{newest.day}").delete()
    assert Finding(newest.day, "seal_missing") in verified(customer, cloud.now).findings


def test_a_table_set_back_to_an_earlier_day_does_not_fit_the_copies_of_its_seals(
    cloud: Cloud, customer: str, sealed: list[Operation]
) -> None:
    """Who may write the table can take the newest day, its seal, and the head's word for it."""
    *_, before, newest = seals.seals(customer)
    day = date.fromisoformat(newest.day)
    store.delete(customer, day, [stored.entry for stored in store.page(customer, day)])
    SealItem(f"LOG#{customer}", f"SEAL#{newest.day}").delete()
    seals.delete_leaves(customer, day)
    HeadItem.get(f"LOG#{customer}", "HEAD").update(
        actions=[HeadItem.newest_day.set(before.day), HeadItem.newest.set(sealing.rules.digest(before.jws))]
    )
    assert verified(customer, cloud.now).findings == (Finding(newest.day, "seal_missing"),)


def test_a_day_sealed_anew_does_not_fit_the_copy_of_its_seal(
    cloud: Cloud, customer: str, sealed: list[Operation]
) -> None:
    """Who may sign as well can replace the newest seal; the first copy stays."""
    newest = seals.seals(customer)[-1]
    day = date.fromisoformat(newest.day)
    tamper_action(next(told for told in sealed if told.at.date() == day))
    SealItem(f"LOG#{customer}", f"SEAL#{newest.day}").delete()
    leaves = {each.entry.place: sealing.rules.leaf(each.entry) for each in store.page(customer, day)}
    before = seals.seals(customer)[-1]
    jws = sealing._seal(customer, day, leaves, (before.day, sealing.rules.digest(before.jws)), cloud.now)
    HeadItem.get(f"LOG#{customer}", "HEAD").update(actions=[HeadItem.newest.set(sealing.rules.digest(jws))])
    assert verified(customer, cloud.now).findings == (Finding(newest.day, "seal_altered"),)


def set_head_back(customer_id: str) -> None:
    *_, before, newest = seals.seals(customer_id)
    HeadItem.get(f"LOG#{customer_id}", "HEAD").update(
        actions=[
            HeadItem.sealed_through.set(str(date.fromisoformat(newest.day) - timedelta(days=1))),
            HeadItem.newest_day.set(before.day),
            HeadItem.newest.set(sealing.rules.digest(before.jws)),
        ]
    )


def delete_head(customer_id: str) -> None:
    HeadItem(f"LOG#{customer_id}", "HEAD").delete()


@pytest.mark.parametrize("seal_is_gone", [False, True])
@pytest.mark.parametrize("set_back", [set_head_back, delete_head])
def test_a_head_set_back_hides_no_altered_entry_and_cleaning_goes_on_naming_it(
    cloud: Cloud, customer: str, sealed: list[Operation], set_back: Callable[[str], None], seal_is_gone: bool
) -> None:
    """The head is not signed: a seal, or a locked copy, beyond it counts; and no day is sealed over what was forged in it."""
    newest = seals.seals(customer)[-1]
    day = date.fromisoformat(newest.day)
    forged = next(told for told in sealed if told.at.date() == day)
    altered = Finding(newest.day, "altered", forged.operation_id)
    tamper_action(forged)
    set_back(customer)
    if seal_is_gone:
        SealItem(f"LOG#{customer}", f"SEAL#{newest.day}").delete()
    cloud.stack.clock.advance(timedelta(hours=1))
    found = verified(customer, cloud.now)
    first_beyond = newest.day if set_back is set_head_back else seals.seals(customer)[0].day
    missing = {Finding(newest.day, "seal_missing")} if seal_is_gone else set()
    assert set(found.findings) == {altered, Finding(first_beyond, "head_behind"), *missing}
    assert found.open_from == day + timedelta(days=1)
    assert sorted(ids(everything(customer, cloud.now))) == sorted(each.operation_id for each in sealed)
    log_cleanup.clean(customer, cloud.now)
    assert verified(customer, cloud.now).findings == (altered,)
    assert seals.get(customer, day) == newest


def test_a_seal_whose_head_is_only_about_to_follow_is_no_finding(
    cloud: Cloud, customer: str, sealed: list[Operation]
) -> None:
    set_head_back(customer)
    assert verified(customer, cloud.now).findings == ()
    cloud.stack.clock.advance(timedelta(hours=1))
    assert [each.fault for each in verified(customer, cloud.now).findings] == ["head_behind"]


def test_leaves_of_a_sealed_day_are_not_written_again(
    cloud: Cloud, customer: str, sealed: list[Operation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("licensing.store.seals._LEAVES_PER_ITEM", 1)
    day = date.fromisoformat(seals.seals(customer)[-1].day)
    leaves = seals.leaves(customer, day)
    for count in (1, 3):
        with pytest.raises(tables.ConditionFailed):
            seals.put(customer, day, "another", {f"10:00:0{n}#op_{n}#primary": "00" for n in range(count)})
    assert seals.leaves(customer, day) == leaves


def test_many_leaves_are_written_in_parts(cloud: Cloud, customer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("licensing.store.seals._LEAVES_PER_ITEM", 3)
    daily(cloud, customer, days=4, each=8)
    seal_all(customer, cloud.now)
    found = verified(customer, cloud.now)
    assert (found.days, found.entries, found.findings) == (1, 8, ())


def test_another_customer_s_seal_is_no_seal_of_this_one(cloud: Cloud, customer: str, sealed: list[Operation]) -> None:
    other = next(each for each in store_ids() if each != customer)
    happened(other, sealed[9].at)
    seal_all(other, cloud.now)
    [foreign] = seals.seals(other, sealed[9].at.date(), sealed[9].at.date())
    item = SealItem.get(f"LOG#{customer}", f"SEAL#{foreign.day}")
    item.update(actions=[SealItem.seal.set(foreign.jws)])
    assert Finding(foreign.day, "seal_altered") in verified(customer, cloud.now).findings


def test_sealing_twice_at_once_seals_once(cloud: Cloud, customer: str) -> None:
    daily(cloud, customer, days=6)

    def twin(event: str, request: Any) -> None:
        if event.endswith("TransactWriteItems") and b"SEAL#" in request.body:
            cloud.stack.aws.interceptor = None
            assert sealing.seal_next(customer, cloud.now)

    cloud.stack.aws.interceptor = twin
    try:
        log_cleanup.clean(customer, cloud.now)
    finally:
        cloud.stack.aws.interceptor = None
    found = verified(customer, cloud.now)
    assert (found.days, found.findings) == (3, ())


@pytest.mark.parametrize("operation", ["TransactWriteItems", "UpdateItem"])
@pytest.mark.parametrize("fault", ["throttle", "timeout_after"])
@pytest.mark.parametrize("after", [0, 2])
def test_sealing_survives_dying_anywhere(cloud: Cloud, customer: str, operation: str, fault: str, after: int) -> None:
    daily(cloud, customer, days=6)
    with die_after(cloud, after, operation, fault):
        for _ in range(3):
            try:
                log_cleanup.clean(customer, cloud.now)
            except TemporarilyUnavailable:
                continue
    log_cleanup.clean(customer, cloud.now)
    found = verified(customer, cloud.now)
    assert (found.days, found.entries, found.findings) == (3, 3, ())


def die_after(cloud: Cloud, calls: int, operation: str, fault: str) -> Any:
    """The first calls succeed, the next six fail."""
    from contextlib import contextmanager

    @contextmanager
    def dying() -> Iterator[None]:
        seen = [0]
        with faults(cloud, "dynamodb", fault, operation, times=6):
            failing = cloud.stack.aws.interceptor

            def later(event: str, request: Any) -> Any:
                seen[0] += event.endswith(operation)
                return failing(event, request) if seen[0] > calls and failing else None

            cloud.stack.aws.interceptor = later
            yield

    return dying()


def test_a_person_can_be_erased_and_the_seal_holds(cloud: Cloud, customer: str) -> None:
    person = Origin("customer", "usr_7", "Giulia Ferrario", "192.0.2.7")
    for day in (12, 10, 0):
        happened(customer, cloud.now - timedelta(days=day, hours=1), 1, person)
        happened(customer, cloud.now - timedelta(days=day, hours=1), 2)
    seal_all(customer, cloud.now)
    assert sealing.erase_personal(customer, "usr_7", VENDOR, cloud.now) == (3, None)
    found = verified(customer, cloud.now)
    assert (found.findings, found.erased) == ((), 2)
    left = [each.by for each in everything(customer, cloud.now) if each.by.id == "usr_7"]
    assert {(by.name, by.address) for by in left} == {("", "")}
    assert "Giulia Ferrario" not in str([item.to_dynamodb_dict() for item in OperationItem.scan()])
    assert sealing.erase_personal(customer, "usr_7", VENDOR, cloud.now) == (0, None)


# ── retention ──


def test_days_past_their_retention_are_cut_and_what_is_left_still_verifies(cloud: Cloud, customer: str) -> None:
    told = daily(cloud, customer, days=25, each=2)
    first_kept = cloud.now.date() - timedelta(
        days=15
    )  # Rome's midnight falls into the UTC day before, which stays whole
    past = sum(each.at.date() < first_kept for each in told)
    done = log_cleanup.clean(customer, cloud.now)
    assert (done.deleted, done.cut_days, done.complete) == (past, past // 2, True)
    assert past == 18
    found = verified(customer, cloud.now)
    assert (found.findings, found.cut) == ((), past // 2)
    left = {item.sk.split("#")[1] for item in OperationItem.scan() if item.pk.startswith(f"{customer}#")}
    assert not left & set(ids(told[:past]))
    assert set(ids(told[past:])) <= left
    assert not [item for item in LeavesItem.scan() if item.pk == f"LOG#{customer}" and "LEAVES#" in item.sk
                and item.sk.split("#")[1] < str(told[past].at.date())]  # fmt: skip
    cuts = [each for each in everything(customer, cloud.now) if each.action == "log.cut"]
    assert sum(int(each.details["entries"]) for each in cuts) == past
    assert log_cleanup.clean(customer, cloud.now).deleted == 0


def test_a_tombstone_excuses_its_own_day_only_and_only_signed(
    cloud: Cloud, customer: str, sealed: list[Operation]
) -> None:
    day = sealed[9].at.date()
    for told in sealed[8:12]:
        item_of(told).delete()
    item = SealItem.get(f"LOG#{customer}", f"SEAL#{day}")
    item.update(actions=[SealItem.tombstone.set("made up")])
    assert verified(customer, cloud.now).findings == (Finding(str(day), "seal_altered"),)
    [seal] = seals.seals(customer, day + timedelta(days=1), day + timedelta(days=1))
    item.update(actions=[SealItem.tombstone.set(sealing.tombstone(customer, seal, 30, cloud.now))])
    assert verified(customer, cloud.now).findings == (Finding(str(day), "seal_altered"),)


def test_a_day_that_is_not_sealed_is_not_cut(cloud: Cloud, customer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told = daily(cloud, customer, days=20)
    monkeypatch.setattr(log_cleanup, "seal_next", lambda customer_id, now: False)
    assert log_cleanup.clean(customer, cloud.now).deleted == 0
    assert item_of(told[0])


def unreadable(told: Operation, sort_key: str, **attributes: Any) -> None:
    """What somebody else than us wrote beside an entry."""
    pk, _ = store._key(told, told.at)
    item = {"pk": {"S": pk}, "sk": {"S": sort_key}, "k": {"S": "server"}, "a": {"S": "x"}, "r": {"S": "DONE"}}
    boto3.client("dynamodb", region_name=REGION).put_item(
        TableName=OperationItem.Meta.table_name, Item={**item, **attributes}
    )


STRAYS: list[tuple[str, dict[str, Any], str]] = [
    ("garbage", {}, "garbage"),
    ("25:00:00#op_1", {}, "op_1"),
    ("00:00:00#op_1#more", {}, "op_1#more"),
    ("00:00:00#op_1", {"d": {"S": "no JSON"}}, "op_1"),
    ("00:00:00#op_1", {"t": {"N": "1e30"}}, "op_1"),
    ("00:00:00#op_1", {"r": {"N": "1"}}, "op_1"),
]


@pytest.mark.parametrize(("sort_key", "attributes", "named"), STRAYS)
def test_what_can_not_be_read_is_named_as_added_and_holds_up_nothing(
    cloud: Cloud, customer: str, sort_key: str, attributes: dict[str, Any], named: str
) -> None:
    told = daily(cloud, customer, days=18, each=2)
    unreadable(told[0], sort_key, **attributes)
    unreadable(told[20], sort_key, **attributes)
    seal_all(customer, cloud.now)
    assert verified(customer, cloud.now).findings == tuple(
        Finding(str(each.at.date()), "added", named) for each in (told[0], told[20])
    )
    shown = everything(customer, cloud.now, limit=1, newest_first=False)
    assert ids(shown) == [each.operation_id for each in told if each in shown]
    assert told[20] in shown
    assert log_cleanup.clean(customer, cloud.now).complete
    assert store.count(customer, told[0].at.date()) == 0
    assert verified(customer, cloud.now).findings == (Finding(str(told[20].at.date()), "added", named),)


def test_an_entry_made_unreadable_is_named_as_altered(cloud: Cloud, customer: str, sealed: list[Operation]) -> None:
    unreadable(sealed[9], item_of(sealed[9]).sk, d={"S": "no JSON"})
    assert verified(customer, cloud.now).findings == (
        Finding(str(sealed[9].at.date()), "altered", sealed[9].operation_id),
    )


def test_a_cut_says_where_what_it_deleted_is_not_what_was_sealed(cloud: Cloud, customer: str) -> None:
    told = daily(cloud, customer, days=18, each=4)
    seal_all(customer, cloud.now)
    item_of(told[0]).delete()
    log_cleanup.clean(customer, cloud.now)
    cuts = {each.details["day"]: each.details for each in everything(customer, cloud.now) if each.action == "log.cut"}
    day = str(told[0].at.date())
    assert cuts.pop(day) == {"day": day, "entries": 3, "sealed": 4}
    assert {(each["entries"], each.get("sealed")) for each in cuts.values()} == {(4, None)}


def test_a_customer_that_can_not_be_cleaned_holds_up_nobody(
    cloud: Cloud, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    queued: list[dict[str, Any]] = []
    clean = log_cleanup.clean

    def broken(customer_id: str, *rest: Any) -> Any:
        if customer_id == customer:
            raise ValueError("an unknown time zone")
        return clean(customer_id, *rest)

    monkeypatch.setattr(log_cleanup, "clean", broken)
    monkeypatch.setattr(log_cleanup, "_send", lambda message, delay=0: queued.append(message))
    for shard in range(16):
        log_cleanup.work({"shard": shard, "after": ""}, cloud.now, lambda: True, log_cleanup.Cleaned())
    assert queued == [{"customer_id": customer}]


@pytest.mark.parametrize("operation", ["BatchWriteItem", "TransactWriteItems"])
@pytest.mark.parametrize("fault", ["throttle", "timeout_after"])
@pytest.mark.parametrize("after", [0, 2])
def test_cutting_survives_dying_anywhere(cloud: Cloud, customer: str, operation: str, fault: str, after: int) -> None:
    then = cloud.now - timedelta(days=25)
    for day in range(3):
        for n in range(30):
            happened(customer, then + timedelta(days=day, seconds=n), n)
    young = happened(customer, cloud.now - timedelta(days=9))
    with die_after(cloud, after, operation, fault):
        for _ in range(3):
            try:
                log_cleanup.clean(customer, cloud.now)
            except TemporarilyUnavailable:
                continue
    log_cleanup.clean(customer, cloud.now)
    found = verified(customer, cloud.now)
    assert (found.cut, found.findings) == (3, ())
    assert item_of(young)
    cuts = [each.details for each in everything(customer, cloud.now) if each.action == "log.cut"]
    assert sorted(int(each["entries"]) for each in cuts) == [30, 30, 30]


# ── archive ──


@pytest.fixture
def archive(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Any:
    client = boto3.client("s3", region_name=REGION)
    client.create_bucket(Bucket="archive", CreateBucketConfiguration={"LocationConstraint": REGION})
    monkeypatch.setenv("ARCHIVE_BUCKET", "archive")
    yield client
    for each in client.list_objects_v2(Bucket="archive").get("Contents", []):
        client.delete_object(Bucket="archive", Key=each["Key"])
    client.delete_bucket(Bucket="archive")


def test_what_is_cut_is_archived_whole_though_time_was_up_in_the_middle(
    cloud: Cloud, customer: str, archive: Any
) -> None:
    then = cloud.now - timedelta(days=20)
    told = [happened(customer, then + timedelta(seconds=n), n) for n in range(60)]
    time_left = iter([True] * 3)  # to seal, to begin to cut, one batch
    assert not log_cleanup.clean(customer, cloud.now, lambda: next(time_left, False)).complete
    assert len(store.page(customer, then.date())) < 60
    assert log_cleanup.clean(customer, cloud.now).complete
    [listed] = archive.list_objects_v2(Bucket="archive")["Contents"]
    assert listed["Key"] == f"operations/day={then.date()}/customer={customer}/operations.jsonl.gz"
    body = archive.get_object(Bucket="archive", Key=listed["Key"])["Body"].read()
    assert [json.loads(line)["operation_id"] for line in gzip.decompress(body).splitlines()] == ids(told)


def test_nothing_is_deleted_while_the_archive_can_not_be_written(cloud: Cloud, customer: str, archive: Any) -> None:
    told = happened(customer, cloud.now - timedelta(days=20))
    with faults(cloud, "s3", "timeout_before"), pytest.raises(TemporarilyUnavailable):
        log_cleanup.clean(customer, cloud.now)
    assert item_of(told)


def test_heads_say_how_far_it_is(cloud: Cloud, customer: str) -> None:
    daily(cloud, customer, days=20)
    log_cleanup.clean(customer, cloud.now)
    head = HeadItem.get(f"LOG#{customer}", "HEAD")
    assert head.cut_through < str((cloud.now - timedelta(days=14)).date())
    assert head.sealed_through == str((cloud.now - timedelta(days=3)).date())


# ── the nightly schedule ──


def test_a_night_of_faults_leaves_nothing_old_and_touches_nothing_young(cloud: Cloud) -> None:
    """tests/bench/log_cleanup.py is the same with as many as one likes."""
    now = log_fleet.midday()
    fleet = log_fleet.make(now, customers=2, operations=72)
    night = log_fleet.Night(cloud.stack, seed=1, rate=0.15, steps=6)
    night.run(now)
    assert night.failures
    assert night.deliveries > 16, "time was never up"
    assert log_fleet.left(fleet) == fleet.young
    for customer_id in fleet.customer_ids:
        assert verified(customer_id, now).findings == ()


def test_the_schedule_runs_from_the_local_stack(cloud: Cloud, customer: str) -> None:
    told = daily(cloud, customer, days=18)
    listed = cloud.get("/local/schedules").json()["items"]
    assert {"name": "CleanLogs", "function": "ScheduleLogCleanup", "schedule": "cron(30 2 * * ? *)"} in listed
    answer = cloud.http.post(f"{cloud.stack.sites[0].url}/local/schedules/CleanLogs/run")
    assert answer.json() == {"result": {"queued": 16 + 1 + len(people_store.resellers())}}
    assert not [each for each in cloud.stack.guard.refused if "Log" in each]
    assert store.page(customer, told[0].at.date()) == []
    assert item_of(told[-1])
    log = (cloud.stack.directory / "functions.log").read_text()
    assert '"OperationsDeleted"' in log


def test_a_cleaning_that_dies_half_way_reports_what_it_deleted(cloud: Cloud, customer: str) -> None:
    daily(cloud, customer, days=25, each=3)
    seal_all(customer, cloud.now)
    messages = [{"messageId": "1", "body": json.dumps({"customer_id": customer}), "eventSource": "aws:sqs"}]
    log = cloud.stack.directory / "functions.log"
    before = log.stat().st_size
    with (
        die_after(cloud, 2, "TransactWriteItems", "throttle"),
        pytest.raises(FunctionFailed, match="TemporarilyUnavailable"),
    ):
        cloud.stack.invoke(cloud.stack.functions.all["CleanLog"], {"Records": messages})
    cuts = [int(each.details["entries"]) for each in everything(customer, cloud.now) if each.action == "log.cut"]
    assert cuts == [3, 3]
    metrics = [json.loads(line) for line in log.read_text()[before:].splitlines() if line.startswith('{"_aws"')]
    assert [(each["OperationsDeleted"], each["DaysCut"]) for each in metrics] == [([6.0], [2.0])]


def test_site_2_leaves_the_cleaning_to_site_1(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    from functions.schedule_log_cleanup.handler import handler

    monkeypatch.setenv("HOME_SITE", "false")
    assert handler({}, None) == {"queued": 0}
