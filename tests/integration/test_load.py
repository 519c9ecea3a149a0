"""A small load on the local stack, so that the large one stays possible: everything of it but a word about memory."""

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_some_license_managers_live_through_an_outage_and_two_days_and_nothing_is_lost() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.load", "--servers", "60", "--processes", "3", "--minutes", "0.25"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Site 1 was away 1 times" in done.stdout
