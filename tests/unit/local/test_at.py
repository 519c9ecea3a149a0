"""Programs run at another time, and say so when they can't."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from infra.local import at
from infra.local.stack import Stack

PROGRAM = """\
import sys, time, datetime
print(sys.argv[1:], round(time.time()), datetime.date.today())
sys.exit(3)
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


def test_a_program_runs_days_from_now_with_its_arguments_and_exit_status(program: Path) -> None:
    import time

    done = subprocess.run(
        [sys.executable, "-m", "infra.local.at", "--days", "10", "--", str(program), "status", "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 3, done.stderr
    assert done.stdout.startswith("['status', '--json'] ")
    then = int(done.stdout.split("] ")[1].split()[0])
    assert abs(then - time.time() - 10 * 86400) < 60


def test_without_days_it_is_the_stack_s_time(client: httpx.Client, stack: Stack) -> None:
    client.post("/local/clock", json={"advance_days": 2})
    assert round(at.stack_offset(stack.sites[0].url).total_seconds()) == 2 * 86400


def test_without_days_and_stack_it_says_what_to_do(program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert at.main(["--stack", "http://127.0.0.1:9", "--", str(program)]) == 1
    assert "make run" in capsys.readouterr().err


def test_a_program_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert at.main(["--days", "1", "--", "no-such-program"]) == 1
    assert "no-such-program" in capsys.readouterr().err


def test_a_program_that_is_not_in_python_is_refused() -> None:
    assert at.find_program("/bin/ls") is None


def test_a_script_beside_python_is_found_by_its_name() -> None:
    found = at.find_program("pytest")
    assert found == Path(sys.executable).with_name("pytest")


def test_the_help_warns_of_the_clock_s_memory(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        at.main(["--help"])
    assert "latest time" in capsys.readouterr().out
