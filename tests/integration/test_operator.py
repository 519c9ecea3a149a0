"""``cloud-licensing``, as the vendor types it."""

import getpass
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from licensing.key_ring import ring
from licensing.people import invite
from licensing.rules.operations import Origin
from licensing.rules.people import VENDOR, Invitation
from licensing.store import key_sets, people
from licensing.store.operations import OperationItem
from typer.testing import CliRunner, Result

from infra.local.template import REGION
from infra.operator.cli import app
from tests.support.cloud import TAX_ID, Cloud, Server

Command = Callable[..., Result]

CATALOGUE = """
applications: [{id: chat, name: Chat, unit: users}]
products: [{sku: CHAT-1, application: chat, name: Chat, type: perpetual}]
customers:
  - name: Acme
    tax_id: FR40303265045
    country: FR
    time_zone: Europe/Paris
    installations: [{name: Paris}]
    licenses: [{code: CHAT-0001-LONG-ENOUGH-TO-BE-CUT, sku: CHAT-1, quantity: 10, allocations: {Paris: 10}}]
"""


@pytest.fixture
def command(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """Runs a command; puts the key set back, which outlives the demo data."""
    monkeypatch.setenv("ROOT_KEY", f"kms:{cloud.stack.outputs['RootKeyArn']}")
    monkeypatch.setenv("COLUMNS", "60")
    for name in ("ISSUER", "DEPLOYMENT"):
        monkeypatch.setenv(name, cloud.stack.vendor_profile["issuer"])
    monkeypatch.delenv("BACKUP_REGION", raising=False)
    remembered = key_sets.KeySetItem.get("KEYSET", "KEYSET")
    yield lambda *words: CliRunner().invoke(app, [str(word) for word in words])
    remembered.save()
    ring.forget()


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    file = tmp_path / "catalogue.yaml"
    file.write_text(CATALOGUE)
    return file


def test_loads_a_file_and_prints_tokens_that_work(command: Command, catalogue: Path, cloud: Cloud) -> None:
    assert "1 customers" in command("check", catalogue).output
    result = command("load", catalogue)
    assert result.exit_code == 0, result.output
    assert "Acme: created" in result.output
    token = command("installations", "token", "FR40303265045", "Paris").output.strip()
    assert token in result.output
    assert Server(cloud).activate(token).status_code == 201
    assert "Acme: unchanged" in command("load", catalogue).output


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("sku: CHAT-1, quantity", "sku: CHAT-2, quantity", "there is no product CHAT-2"),
        ("{Paris: 10}", "{Paris: 11}", "11 are assigned, the license has 10"),
        ("FR40303265045", "FR40303265044", "customers[0].tax_id"),
        ("customers:", "customers: [", "is no YAML"),
    ],
)
def test_a_file_with_a_fault_is_refused_in_a_sentence(
    command: Command, catalogue: Path, was: str, becomes: str, said: str
) -> None:
    catalogue.write_text(CATALOGUE.replace(was, becomes))
    for verb in ("check", "load"):
        result = command(verb, catalogue)
        assert result.exit_code == 1
        assert said in result.output
        assert "Traceback" not in result.output


def test_shows_a_customer_with_nothing_cut(command: Command, catalogue: Path, cloud: Cloud, server: Server) -> None:
    command("load", catalogue)
    assert "CHAT-0001-LONG-ENOUGH-TO-BE-CUT" in command("customers", "show", "FR40303265045").output
    shown = command("customers", "show", TAX_ID).output
    assert server.claims["sub"] in shown
    assert "active" in shown
    assert "host-a" in shown


def test_release_disable_enable_and_rotate(command: Command, cloud: Cloud, server: Server) -> None:
    assert "final no" in command("installations", "release", TAX_ID, "Milano").output
    assert "nothing to release" in command("installations", "release", TAX_ID, "Milano").output
    assert command("installations", "disable", TAX_ID, "Milano").exit_code == 0
    assert server.validate().json()["code"] == "INSTALLATION_RELEASED"
    assert command("installations", "enable", TAX_ID, "Milano").exit_code == 0
    new = command("installations", "rotate-token", TAX_ID, "Bergamo").output.strip()
    assert Server(cloud, machine="b").activate(new).status_code == 201


def test_shows_and_exports_the_log(command: Command, cloud: Cloud, server: Server) -> None:
    cloud.stack.clock.advance(timedelta(seconds=2))
    command("installations", "disable", TAX_ID, "Milano")
    cloud.stack.clock.advance(timedelta(seconds=2))
    shown = command("log", "show", TAX_ID).output
    assert "installation.disabled" in shown
    assert f"vendor {getpass.getuser()}" in shown
    assert shown.index("installation.disabled") < shown.index("server.activated") < shown.index("order.received")
    assert "server.activated" not in command("log", "show", TAX_ID, "--action", "installation.").output
    lines = command("log", "export", TAX_ID, "--format", "jsonl").stdout.splitlines()
    told = [json.loads(line)["action"] for line in lines]
    assert sorted(told[:2]) == ["customer.created", "order.received"]  # the demo's, in one second perhaps
    assert told[2:] == ["server.activated", "installation.disabled"]
    assert command("log", "export", TAX_ID).stdout.startswith("operation_id,at,actor_kind,")


def test_cleans_the_log_and_verifies_what_is_left(command: Command, cloud: Cloud, server: Server) -> None:
    assert "kept for 365 days" in command("log", "retention", TAX_ID).output
    assert "for 5; its administrators are told" in command("log", "retention", TAX_ID, 5).output
    cloud.stack.clock.advance(timedelta(days=10))
    assert "kept for 5 days" in command("log", "retention", TAX_ID).output
    assert "1 days sealed, 1 cut, 4 operations deleted" in command("log", "cleanup", TAX_ID).output
    cloud.stack.clock.advance(timedelta(days=4))
    assert "1 days sealed, 0 cut" in command("log", "cleanup", TAX_ID).output
    verified = command("log", "verify", TAX_ID)
    assert verified.exit_code == 0
    assert "2 sealed days, 1 of them cut by retention, 1 operations" in verified.output
    [entry] = [item for item in OperationItem.scan() if "#op_" in item.sk and item.action == "log.cut"]
    entry.update(actions=[OperationItem.action.set("log.kept")])
    altered = command("log", "verify", TAX_ID)
    assert altered.exit_code == 1
    assert f"altered {entry.sk.split('#')[1]}" in altered.output


@pytest.mark.usefixtures("server")
def test_verifying_says_what_was_erased_and_where_nothing_is_sealed(command: Command, cloud: Cloud) -> None:
    command("installations", "disable", TAX_ID, "Milano")
    assert "No day of this range is sealed yet." in command("log", "verify", TAX_ID).output
    cloud.stack.clock.advance(timedelta(days=4))
    command("log", "cleanup", TAX_ID)
    whole = command("log", "verify", TAX_ID).output
    assert "Nothing was altered, removed or added." in whole
    assert "erased" not in whole
    stripped = next(
        item for item in OperationItem.scan() if "#op_" in item.sk and item.action == "installation.disabled"
    )
    stripped.update(actions=[OperationItem.personal.remove()])
    verified = command("log", "verify", TAX_ID)
    assert verified.exit_code == 0
    assert "Of 1 operations name and address were erased" in " ".join(verified.output.split())


class Nightly:
    """Lambda, as far as it says what the nightly function's environment is."""

    def __init__(self, bucket: str | None) -> None:
        self.bucket = bucket

    def get_function_configuration(self, FunctionName: str) -> Any:  # noqa: N803  boto3's word
        assert FunctionName.endswith("-CleanLog")
        if self.bucket is None:
            raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetFunctionConfiguration")
        return {"Environment": {"Variables": {"ARCHIVE_BUCKET": self.bucket}}}


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("bucket", ["archive", None])
def test_the_command_cuts_nothing_past_the_archive(
    command: Command, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, bucket: str | None
) -> None:
    s3 = boto3.client("s3", region_name=REGION)
    s3.create_bucket(Bucket="archive", CreateBucketConfiguration={"LocationConstraint": REGION})
    monkeypatch.setenv("ARCHIVE_BUCKET", "")
    monkeypatch.delenv("ARCHIVE_BUCKET")
    client = boto3.client
    monkeypatch.setattr(
        boto3, "client", lambda name, **more: Nightly(bucket) if name == "lambda" else client(name, **more)
    )
    command("log", "retention", TAX_ID, 5)
    cloud.stack.clock.advance(timedelta(days=10))
    cleaned = command("log", "cleanup", TAX_ID)
    archived = s3.list_objects_v2(Bucket="archive").get("Contents", [])
    for each in archived:
        s3.delete_object(Bucket="archive", Key=each["Key"])
    s3.delete_bucket(Bucket="archive")
    if bucket:
        assert "1 cut" in cleaned.output
        assert len(archived) == 1
    else:
        assert cleaned.exit_code == 1
        assert "Nothing is cut" in cleaned.output
        assert "1 days sealed, 1 cut" not in cleaned.output


def test_refuses_a_retention_that_is_none(command: Command) -> None:
    result = command("log", "retention", TAX_ID, 0)
    assert result.exit_code == 1
    assert "1 to 3650 days" in result.output


@pytest.mark.usefixtures("cloud")
def test_the_first_keys_sign_server_tokens_and_seals() -> None:
    current = key_sets.get()
    assert current
    assert {key.use: key.stage for key in current.key_set.keys} == {
        "server": "signing", "file": "signing", "seal": "signing", "key": "signing", "seat": "signing",
    }  # fmt: skip


def test_opens_a_window(command: Command, cloud: Cloud) -> None:
    assert "Open until" in command("customers", "open-window", TAX_ID, "--minutes", 30).output
    assert cloud.post("/v1/activation-requests", {"tax_id": TAX_ID}).status_code == 200


def test_rotates_a_key(command: Command, cloud: Cloud) -> None:
    kid = command("keys", "publish").output.split()[1].rstrip(".")
    assert kid in command("keys", "list").output
    too_new = command("keys", "switch", kid)
    assert too_new.exit_code == 1
    assert "too new" in too_new.output
    assert command("keys", "switch", kid, "--at-once").exit_code == 0
    current = key_sets.get()
    assert current
    signing = current.key_set.signing("server")
    assert signing
    assert signing.kid == kid
    assert command("keys", "revoke", kid).exit_code == 1


def test_makes_no_second_first_key_set(command: Command) -> None:
    result = command("keys", "init")
    assert result.exit_code == 1
    assert "already" in result.output


def test_writes_the_profile_that_pins_the_root(command: Command, cloud: Cloud) -> None:
    result = command("profile", "--site", "https://one.example", "--site", "https://two.example")
    profile = json.loads(result.output)
    assert profile["root_keys"] == cloud.stack.vendor_profile["root_keys"]
    assert profile["sites"] == ["https://one.example", "https://two.example"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("customers", "show", "IT00743110158"), "not a valid tax id"),
        (("customers", "show", "DE811569869"), "no such customer"),
        (("installations", "release", TAX_ID, "Torino"), "no such customer, installation or order"),
        (("keys", "publish", "--root", "file:/nowhere/root.pem"), "No such file"),
        (("keys", "publish", "--root", "nonsense"), "the root is kms:"),
        (("keys", "switch", "unknown"), "publish it first"),
    ],
)
def test_what_can_not_be_done_is_said_in_a_sentence(command: Command, words: tuple[str, ...], said: str) -> None:
    result = command(*words)
    assert result.exit_code == 1
    assert said in " ".join(result.output.split())
    assert "Traceback" not in result.output


def test_issues_lists_and_shows_activation_keys(command: Command, tmp_path: Path, cloud: Cloud) -> None:
    file = tmp_path / "key.yaml"
    file.write_text(f"""
customer: {TAX_ID}
companies: [{{tax_id: {TAX_ID}, name: Officine Lombarde}}]
concurrent: {{web-chat: 6}}
first_day: {cloud.now.date()}
last_day: 2099-12-31
""")
    issued = command("activation-keys", "issue", file)
    assert issued.exit_code == 0, issued.output
    assert issued.output.startswith("-----BEGIN ACTIVATION KEY-----")
    listed = command("activation-keys", "list", TAX_ID).output
    key_id = next(word for word in listed.split() if word.startswith("key_"))
    assert "web-chat 6" in listed
    assert key_id in command("activation-keys", "list").output
    assert command("activation-keys", "show", key_id).output == issued.output
    file.write_text(f"customer: {TAX_ID}")
    assert command("activation-keys", "issue", file).exit_code == 1
    assert command("activation-keys", "show", "key_none").exit_code == 1


def test_shows_verifies_and_cleans_the_vendor_s_own_log_and_a_reseller_s(command: Command, cloud: Cloud) -> None:
    reseller = next(iter(people.resellers().values()))
    before = {words: command("log", "show", *words).output for words in (("--vendor",), (reseller.tax_id,))}
    for (words, shown), owner in zip(before.items(), (VENDOR, reseller.reseller_id), strict=True):
        assert "person.invited" not in shown
        invite(Invitation("anna@example.com", owner, ()), Origin("vendor", "marta"), cloud.now)
        assert "person.invited" in command("log", "show", *words).output
        assert "person.invited" in command("log", "export", *words).output
        assert "operations deleted" in command("log", "cleanup", *words).output
        assert "No day of this range is sealed yet." in command("log", "verify", *words).output
    assert "--vendor, or a tax id" in command("log", "show").output
