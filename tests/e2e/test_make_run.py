"""The first thing to show: `make run`, and beside it the real License Manager."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
MANAGER = Path(sys.executable).with_name("license-manager")
PATIENCE = 60  # seconds


def free_ports() -> int:
    """The first of three free ports in a row."""
    for port in range(20_000 + os.getpid() % 10_000, 65_000, 3):
        try:
            for each in range(port, port + 3):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", each))
        except OSError:
            continue
        return port
    raise AssertionError("no free ports")


def start(*command: str, output: IO[str], **options: object) -> "subprocess.Popen[str]":
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "NO_PROXY": "127.0.0.1"}
    return subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=output, stderr=subprocess.STDOUT, env=environment, **options
    )  # type: ignore[call-overload,no-any-return]


def eventually(what: Callable[[], object]) -> object:
    """What ``what`` says once it says something."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.05)
    raise AssertionError("it took too long")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """The running program: its process, its screen, its port."""
    port, screen = free_ports(), tmp_path / "screen.txt"
    command = (sys.executable, "-m", "infra.local", "--port", str(port), "--directory", str(tmp_path / "local"))
    with screen.open("w") as output:
        process = start(*command, output=output)
    try:
        eventually(lambda: "in a second terminal" in screen.read_text() or process.poll() is not None)
        assert process.poll() is None, screen.read_text()
        yield SimpleNamespace(
            process=process, screen=screen, port=port, site=f"http://127.0.0.1:{port}", directory=tmp_path / "local"
        )
    finally:
        process.kill()
        process.wait()


def license_manager(run: SimpleNamespace, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"}
    home = ("--home", str(run.directory / "server-1"), "--vendor", str(run.directory / "vendor.json"))
    return subprocess.run(
        [str(MANAGER), *home, *arguments], capture_output=True, text=True, timeout=PATIENCE, env=environment, cwd=ROOT
    )


def code_in_the_outbox(run: SimpleNamespace) -> str:
    def newest() -> str | None:
        mails = httpx.get(f"{run.site}/local/outbox", trust_env=False).json()["items"]
        codes = [code[0] for mail in mails if (code := re.match(r"\d{6}\b", mail["subject"]))]
        return codes[0] if codes else None

    return str(eventually(newest))


def test_a_server_is_activated_by_tax_id_and_code_and_then_validated(run: SimpleNamespace, tmp_path: Path) -> None:
    seen = tmp_path / "dialogue.txt"
    home = ("--home", str(run.directory / "server-1"), "--vendor", str(run.directory / "vendor.json"))
    with seen.open("w") as output:
        dialogue = start(str(MANAGER), *home, output=output, stdin=subprocess.PIPE)
    assert dialogue.stdin
    for line in ("IT00743110157", "y"):
        dialogue.stdin.write(f"{line}\n")
        dialogue.stdin.flush()
    dialogue.stdin.write(f"{code_in_the_outbox(run)}\n2\nq\n")
    dialogue.stdin.close()
    assert dialogue.wait(PATIENCE) == 0, seen.read_text()

    text = seen.read_text()
    assert re.search(r"1 +Bergamo +available\s+2 +Milano +available", text)
    assert "First validation" in text
    for shown in ("Advanced Queueing", "supervisor-dashboard", "30 channels", "75 users", "Milano"):
        assert shown in text
    assert "Interactive Voice Response" not in text  # locked: invisible until its order is unlocked

    validated = license_manager(run, "validate")
    assert validated.returncode == 0, validated.stdout
    assert "Operation completed" in validated.stdout
    assert "First validation" not in validated.stdout
    assert "REFUSED" not in (run.directory / "functions.log").read_text()


def test_every_line_on_the_screen_works_as_it_stands(run: SimpleNamespace) -> None:
    screen = run.screen.read_text()
    by_token = next(line for line in screen.splitlines() if "--token=" in line).strip()
    curls = [line.strip() for line in screen.splitlines() if line.strip().startswith("curl ")]
    assert len(curls) >= 5
    for line in (by_token, *curls):
        command = line.replace(".venv/bin/license-manager", str(MANAGER)).replace("curl -s", "curl -sf --noproxy '*'")
        done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        assert done.stdout


def test_the_cloud_and_the_server_can_be_looked_at_three_days_later(run: SimpleNamespace) -> None:
    token = re.search(r"--token=(\S+)", run.screen.read_text())
    assert token
    assert license_manager(run, "activate", f"--token={token[1]}").returncode == 0
    httpx.post(f"{run.site}/local/clock", json={"advance_days": 3}, trust_env=False)
    later = subprocess.run(
        [sys.executable, "-m", "infra.local.at", "--stack", run.site, "--", "license-manager",
         "--home", str(run.directory / "server-1"), "--vendor", str(run.directory / "vendor.json"), "status"],
        capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT,
        env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1"},
    )  # fmt: skip
    assert re.search(r"Status +warning", later.stdout), later.stdout + later.stderr


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly(run: SimpleNamespace, how: signal.Signals) -> None:
    run.process.send_signal(how)
    assert run.process.wait(PATIENCE) == 0
    screen = run.screen.read_text()
    assert screen.endswith("Stopped.\n")
    assert "Traceback" not in screen
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{run.site}/v1/ping", trust_env=False)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_taken_port_is_one_clear_line(tmp_path: Path, place: int) -> None:
    port = free_ports()
    with socket.socket() as other:
        other.bind(("127.0.0.1", port + place))
        other.listen()
        done = subprocess.run(
            [sys.executable, "-m", "infra.local", "--directory", str(tmp_path / "local")],
            capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT, env={**os.environ, "PORT": str(port)},
        )  # fmt: skip
    assert done.returncode == 1
    assert not done.stdout
    (line,) = done.stderr.splitlines()
    assert f"Port {port + place} on 127.0.0.1 is taken" in line
    assert "PORT=" in line


def test_a_second_one_does_not_take_the_first_one_s_directory(run: SimpleNamespace) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "infra.local", "--port", str(free_ports()), "--directory", str(run.directory)],
        capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Another local stack" in done.stderr
    assert (run.directory / "vendor.json").exists()
