"""What deploys, run: the built, byte-compiled functions in Lambda's containers, with the local stack as AWS."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.local.stack import ISSUER, Stack
from infra.local.template import REGION, read

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / ".aws-sam" / "build"
SAM = ROOT / ".venv-sam" / "bin" / "sam"
IMAGE = "public.ecr.aws/lambda/python:3.13-rapid-x86_64"
PATIENCE = 120  # seconds: the first call of each function builds its container


def missing() -> str | None:
    """What this machine lacks for `sam local`."""
    if not (BUILD / "template.yaml").exists() or not SAM.exists():
        return "nothing is built: make build"
    if (
        not shutil.which("docker")
        or subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True).returncode
    ):
        return f"no Docker engine with the image {IMAGE}"
    return None


lack = missing()
if lack and os.environ.get("SAM_LOCAL") != "required":
    pytest.skip(f"sam local: {lack}", allow_module_level=True)


def test_what_is_built_is_byte_compiled_and_small() -> None:
    assert lack is None, lack
    for name in ("ValidateServer", "LicensingLayer"):
        sources = [path for path in (BUILD / name).rglob("*.py") if "site-packages" not in path.parts]
        assert sources
        missing = [path for path in sources if not list(path.parent.glob(f"__pycache__/{path.stem}.cpython-313.pyc"))]
        assert not missing
    size = sum(
        path.stat().st_size for name in ("ValidateServer", "LicensingLayer") for path in (BUILD / name).rglob("*")
    )
    assert size <= 60 * 1024 * 1024


def test_bytecode_is_taken_unchecked_whatever_the_zip_makes_of_time_stamps() -> None:
    for path in (BUILD / "ValidateServer").rglob("*.pyc"):
        assert int.from_bytes(path.read_bytes()[4:8], "little") == 0b01  # PEP 552: hash-based, not checked


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The local stack, with AWS where containers can reach it."""
    (bridge,) = json.loads(subprocess.check_output(["docker", "network", "inspect", "bridge"]))
    (network,) = bridge["IPAM"]["Config"]
    this_machine = network.get("Gateway") or str(ip_network(network["Subnet"])[1])
    with Stack(directory=tmp_path_factory.mktemp("stack"), aws_host=this_machine) as stack:
        yield stack


@pytest.fixture(scope="module")
def sam_local(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `sam local start-api`."""
    template = BUILD / "local.yaml"
    template.write_text(json.dumps(for_sam_local(read(BUILD / "template.yaml"), stack)), encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("sam") / "log.txt"
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": "FOOBARKEY",
        "AWS_SECRET_ACCESS_KEY": "FOOBARSECRET",
        "AWS_DEFAULT_REGION": REGION,
        "SAM_CLI_TELEMETRY": "0",
    }
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(SAM), "local", "start-api", "--template", str(template), "--skip-pull-image", "--port", str(port),
             "--warm-containers", "LAZY", "--docker-network", "host"],
            stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True, cwd=ROOT,
        )  # fmt: skip
    try:
        wait_for(port, process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)  # it stops its containers
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        template.unlink()


def for_sam_local(template: dict[str, Any], stack: Stack) -> dict[str, Any]:
    """The built template with what only a deployment knows filled in: `sam local` makes no resources."""
    variables = template["Globals"]["Function"]["Environment"]["Variables"]
    variables |= {**stack.functions.all["ValidateServer"].environment, "AWS_ENDPOINT_URL": stack.aws_url}
    kept = (
        "AWS::Serverless::Function",
        "AWS::Serverless::HttpApi",
        "AWS::Serverless::LayerVersion",
        "AWS::Logs::LogGroup",
    )
    resources = {name: each for name, each in template["Resources"].items() if each["Type"] in kept}
    for function in resources.values():
        for key in ("Role", "Policies"):
            function["Properties"].pop(key, None)
    del resources["SendActivationCode"]  # the local stack runs it: there is no queue that sam local would read
    parameters = {**template["Parameters"], "Issuer": {"Type": "String", "Default": ISSUER}}
    return {**template, "Parameters": parameters, "Resources": resources, "Outputs": {}}


def wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError(log.read_text()[-4000:])


@pytest.fixture(scope="module")
def client(sam_local: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=sam_local, trust_env=False, timeout=PATIENCE) as client:
        yield client


@pytest.mark.parametrize("path", ["/v1/ping", "/v1/keyset", "/.well-known/jwks.json", "/v1/openapi.json"])
def test_what_anyone_may_read_is_served_from_the_artifact(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text


def test_the_license_manager_activates_validates_and_deactivates(
    sam_local: str, stack: Stack, client: httpx.Client, tmp_path: Path
) -> None:
    vendor = tmp_path / "vendor.json"
    vendor.write_text(json.dumps({**stack.vendor_profile, "sites": [sam_local, stack.sites[1].url]}))
    log = tmp_path / "dialogue.txt"
    for path in ("/v1/activation-requests", "/v1/activation-requests/req_0/verify", "/v1/activations",
                 "/v1/validations", "/v1/deactivations"):  # fmt: skip
        client.post(path, json={})  # builds and starts the container, which takes longer than an agent waits
    command = [str(Path(sys.executable).with_name("license-manager")), "--home", str(tmp_path), "--vendor", str(vendor)]
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "NO_PROXY": "127.0.0.1"}
    with log.open("w") as output:
        dialogue = subprocess.Popen(
            [*command, "activate"],
            stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, text=True, env=environment,
        )  # fmt: skip
    assert dialogue.stdin
    dialogue.stdin.write("IT00743110157\ny\n")
    dialogue.stdin.flush()
    dialogue.stdin.write(f"{mailed_code(stack, dialogue, log)}\n2\n")
    dialogue.stdin.close()
    assert dialogue.wait(PATIENCE) == 0, log.read_text()
    assert "First validation" in log.read_text()
    for arguments, said in ((["validate"], "Operation completed"), (["deactivate", "--yes"], "")):
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=PATIENCE, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        assert said in done.stdout


def mailed_code(stack: Stack, dialogue: "subprocess.Popen[str]", log: Path) -> str:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and dialogue.poll() is None:
        mails = httpx.get(f"{stack.sites[0].url}/local/outbox", trust_env=False).json()["items"]
        if codes := [mail["subject"].split()[0] for mail in mails if mail["subject"][:6].isdigit()]:
            return str(codes[0])
        time.sleep(0.1)
    raise AssertionError(log.read_text())
