"""The stack: sites that can die, AWS over HTTP, a reset, and no more rights than the template grants."""

import gc
import os
import ssl
from pathlib import Path

import boto3
import httpx
import pytest
from moto.dynamodbstreams.models import ShardIterator

from infra.local.stack import DirectoryTaken, PortTaken, Stack

TAX_ID = {"tax_id": "IT00743110157"}


def test_both_sites_serve_the_same_deployment_and_say_who_they_are(stack: Stack) -> None:
    answers = [httpx.get(f"{site.url}/v1/ping", trust_env=False).json() for site in stack.sites]
    assert [(each["site"], each["region"]) for each in answers] == [
        ("primary", "eu-south-1"),
        ("backup", "eu-central-1"),
    ]
    keysets = [httpx.get(f"{site.url}/v1/keyset", trust_env=False).text for site in stack.sites]
    assert keysets[0] == keysets[1]


def test_one_site_dies_and_comes_back_while_the_other_serves(stack: Stack) -> None:
    first, second = stack.sites
    first.stop()
    try:
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{first.url}/v1/ping", trust_env=False)
        assert httpx.get(f"{second.url}/v1/ping", trust_env=False).status_code == 200
    finally:
        first.start()
    assert httpx.get(f"{first.url}/v1/ping", trust_env=False).status_code == 200


def test_activation_codes_reach_the_outbox_by_the_queue(client: httpx.Client, stack: Stack) -> None:
    assert client.post("/v1/activation-requests", json=TAX_ID).status_code == 202
    (mail,) = wait_for_mail(client, stack)
    assert mail["to"] == ["giulia.ferrario@officinelombarde.example"]
    assert not [each for each in stack.guard.refused if "ActivationCode" in each]


def wait_for_mail(client: httpx.Client, stack: Stack) -> list[dict[str, object]]:
    """The queue holds a message back for a second. Other tests may have stopped its own polling."""
    import time

    for _ in range(400):
        stack.queues.run_once()
        mails: list[dict[str, object]] = client.get("/local/outbox").json()["items"]
        if mails:
            return mails
        time.sleep(0.02)
    raise AssertionError("no mail came")


def test_a_reset_brings_back_the_demo_with_its_tokens_and_keys(client: httpx.Client, stack: Stack) -> None:
    keyset = client.get("/v1/keyset").text
    before = list(stack.activation_tokens)
    for _ in range(3):
        client.post("/v1/activation-requests", json=TAX_ID)
    assert client.post("/v1/activation-requests", json=TAX_ID).status_code == 429
    client.post("/local/clock", json={"advance_days": 3})
    assert client.post("/local/reset").status_code == 200
    assert client.get("/local/clock").json()["offset_seconds"] == 0
    assert client.post("/v1/activation-requests", json=TAX_ID).status_code == 202
    assert client.get("/v1/keyset").text == keyset
    assert stack.activation_tokens == before


def test_other_processes_see_the_same_data_through_the_aws_endpoint(stack: Stack) -> None:
    for region in ("eu-south-1", "eu-central-1"):
        body = b'{"TableName": "licensing-Licensing"}'
        headers = {
            "x-amz-target": "DynamoDB_20120810.Scan",
            "content-type": "application/x-amz-json-1.0",
            "authorization": "AWS4-HMAC-SHA256 "
            f"Credential=FOOBARKEY/20261122/{region}/dynamodb/aws4_request, SignedHeaders=host, Signature=0",
        }
        answer = httpx.post(stack.aws_url, content=body, headers=headers, trust_env=False, timeout=20)
        assert answer.json()["Count"] == stack_items(stack)


def stack_items(stack: Stack) -> int:
    count: int = boto3.client("dynamodb", region_name="eu-south-1").scan(TableName="licensing-Licensing")["Count"]
    return count


def test_a_look_at_a_stream_leaves_nothing_in_memory(stack: Stack) -> None:
    def iterators() -> int:
        gc.collect()
        return sum(isinstance(each, ShardIterator) for each in gc.get_objects())

    stack.queues.stop()
    stack.queues.run_once()
    before = iterators()
    for _ in range(3):
        stack.queues.run_once()
        for stream in stack.streams:
            stream.skip()
    assert iterators() == before


def test_what_the_template_promises_of_the_data_is_there(stack: Stack) -> None:
    client = boto3.client("dynamodb", region_name="eu-south-1")
    for name in ("LicensingTable", "StateTable"):
        table = client.describe_table(TableName=stack.outputs[name])["Table"]
        assert table["DeletionProtectionEnabled"]
        assert table["SSEDescription"]["Status"] == "ENABLED"
        recovery = client.describe_continuous_backups(TableName=stack.outputs[name])["ContinuousBackupsDescription"]
        assert recovery["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"


def test_the_vendor_profile_names_both_sites_and_pins_the_root(stack: Stack) -> None:
    profile = stack.vendor_profile
    assert profile["sites"] == [site.url for site in stack.sites]
    assert [key["crv"] for key in profile["root_keys"]] == ["P-256"]
    assert stack.vendor_file.exists()


def test_a_taken_port_is_named_in_one_sentence(stack: Stack, directory: Path) -> None:
    with pytest.raises(PortTaken, match=f"Port {stack.sites[0].port} .* is taken"):
        Stack(directory=directory, port=stack.sites[0].port)
    assert not directory.exists()


def test_a_directory_with_something_else_in_it_is_left_alone(directory: Path) -> None:
    directory.mkdir()
    (directory / "thesis.txt").write_text("years of work")
    with pytest.raises(DirectoryTaken, match="is not the local stack's"), Stack(directory=directory):
        pass
    assert (directory / "thesis.txt").read_text() == "years of work"


def test_a_directory_behind_a_link_is_left_alone(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    directory.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DirectoryTaken), Stack(directory=directory):
        pass


def test_a_directory_in_use_is_left_alone(stack: Stack) -> None:
    with pytest.raises(DirectoryTaken, match="Another local stack"), Stack(directory=stack.directory):
        pass
    assert stack.vendor_file.exists()


@pytest.mark.usefixtures("stack")
def test_functions_see_the_deployment_s_environment() -> None:
    assert os.environ["LICENSING_TABLE"] == "licensing-Licensing"


def test_sites_can_speak_tls(tls: tuple[ssl.SSLContext, ssl.SSLContext], directory: Path) -> None:
    stack = Stack(directory=directory, context=tls[0])
    assert all(site.url.startswith("https://127.0.0.1:") for site in stack.sites)
    assert stack.aws_url.startswith("http://")
    stack.__exit__()
