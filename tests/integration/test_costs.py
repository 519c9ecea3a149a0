"""What a validation costs: counted calls, and item sizes by DynamoDB's published rules (proof.md)."""

import json
from copy import deepcopy
from typing import Any

import pytest
from botocore.session import Session
from licensing import administration, loading
from licensing.store import key_sets, servers, standings, vendor
from licensing.store.operations import OperationItem
from licensing.store.servers import ServerItem
from licensing.store.tables import Item

from tests.support.cloud import TAX_ID, Cloud, Server
from tests.support.units import READ_UNIT, WRITE_UNIT, item_size


@pytest.fixture
def twenty(cloud: Cloud) -> Server:
    """A server with twenty entitlements that has validated often."""
    document = deepcopy(cloud.stack.document)
    customer = next(each for each in document["customers"] if each["tax_id"] == TAX_ID)
    kinds = [each for each in customer["licenses"] if "Milano" in each["allocations"]]
    for n in range(20 - len(kinds)):
        customer["licenses"].append({**kinds[n % len(kinds)], "code": f"{kinds[n % len(kinds)]['code']}-{n}"})
    loading.load({"customers": [customer]}, cloud.now)
    server = Server(cloud, report={"databases": ["main", "archive"]})
    server.activate(cloud.token_of("Milano"))
    server.report["usage"] = {"advanced-queueing": 17}
    assert len(server.claims["ent"]) == 20
    for _ in range(10):
        response = server.validate()
        assert response.status_code == 200, response.text
    return server


def test_a_daily_validation_is_one_read_one_write_and_one_signature(cloud: Cloud, twenty: Server) -> None:
    calls: list[tuple[str, bool]] = []

    def note(event: str, request: Any) -> None:
        body = json.loads(request.body)
        calls.append((event.removeprefix("before-send."), bool(body.get("ConsistentRead"))))

    cloud.stack.aws.interceptor = note
    try:
        assert twenty.validate().json()["valid"]
    finally:
        cloud.stack.aws.interceptor = None
    assert [name for name, _ in calls if name.startswith("dynamodb")] == ["dynamodb.GetItem", "dynamodb.UpdateItem"]
    assert calls[0][1], "a lagging read could miss a release"
    # The look-ups beside it are the local stack's own, for the condition on the key's tag.
    assert [name for name, _ in calls].count("kms.Sign") == 1


def test_the_projection_of_twenty_entitlements_is_one_read_unit(twenty: Server) -> None:
    account = administration.find_account(TAX_ID)
    key = f"ENT#{administration.find_installation(account, 'Milano')}"
    item = standings.StandingItem.get(account.customer.customer_id, key).serialize()
    assert item_size(item) <= READ_UNIT // 2


def test_a_server_s_state_is_one_write_unit(twenty: Server) -> None:
    account = administration.find_account(TAX_ID)
    item = ServerItem.get(administration.find_installation(account, "Milano")).serialize()
    assert len(item["n"]["M"]) == 8
    assert item_size(item) <= WRITE_UNIT


def test_an_entry_of_the_log_is_one_write_unit(cloud: Cloud, twenty: Server) -> None:
    cloud.work_off_streams()
    sizes = [item_size(item.serialize()) for item in OperationItem.scan() if "#op_" in item.sk]
    assert len(sizes) > 10
    assert max(sizes) <= WRITE_UNIT
    assert sorted(sizes)[len(sizes) // 2] <= 512


def test_a_cold_function_makes_one_client_per_table(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    create = Session.create_client

    def counted(self: Session, service_name: str, *rest: Any, **options: Any) -> Any:
        made.append(service_name)
        return create(self, service_name, *rest, **options)

    for model in (standings.StandingItem, vendor.VendorItem, key_sets.KeySetItem):
        if "_connection" in vars(model):
            monkeypatch.delattr(model, "_connection")
    for model in (Item, ServerItem):
        monkeypatch.setattr(model, "_connection", None)
    monkeypatch.setattr(Session, "create_client", counted)
    standings.get("cus_1", "ins_1")
    vendor.get()
    key_sets.get()
    servers.get("ins_1")
    assert made.count("dynamodb") == 2
