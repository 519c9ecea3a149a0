"""The arithmetic of the price table, and how two runs of the bench are held against each other."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bench import compare, price, prices
from tests.bench.report import Line, number, table

VALIDATION = price.Request(read=1, write=1, calls=2, cpu_ms=0)
ENTRY = price.Request(read=0, write=1, calls=1, cpu_ms=0)


@pytest.fixture(autouse=True)
def round_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prices to reckon with in one's head; those of AWS change."""
    known = {
        "DYNAMODB_READ": 0.1, "DYNAMODB_WRITE": 0.5, "DYNAMODB_REPLICATED_WRITE": 0.4,
        "HTTP_API": ((300, 1.0), (float("inf"), 0.5)),
        "LAMBDA_REQUESTS": 0.2, "LAMBDA_GB_SECOND": 0.00001, "LAMBDA_FULL_CORE_MB": 2048, "DYNAMODB_MS": 5.0, "OUT_GB": 0.1,
        "KMS_10K": 0.15,
    }  # fmt: skip
    for name, value in known.items():
        monkeypatch.setattr(prices, name, value)


def test_a_smaller_function_computes_longer_and_waits_as_long() -> None:
    assert price.billed_ms(cpu_ms=4, calls=2, memory=2048) == 10 + 4
    assert price.billed_ms(cpu_ms=4, calls=2, memory=512) == 10 + 16
    assert price.billed_ms(cpu_ms=4, calls=2, memory=8192) == 10 + 4


def test_a_million_validations() -> None:
    core, apart = price.validation(VALIDATION, ENTRY, servers=1)
    assert core == pytest.approx({
        "HTTP API": 1, "Lambda requests": 0.2, "Lambda compute": 0.1, "DynamoDB reads": 0.1, "DynamoDB writes": 0.5,
        "the log's writes": 0.5, "the log's function": 0.2 + 0.05,
    })  # fmt: skip
    assert apart["second site (replicated writes)"] == pytest.approx(0.8)
    assert apart["KMS signer instead of PEM"] == pytest.approx(15)


def test_what_goes_out_is_paid_by_the_gigabyte() -> None:
    _, apart = price.validation(price.Request(1, 1, 2, 0, bytes_out=5000), ENTRY)
    assert apart["data to the internet"] == pytest.approx(0.5)


def test_the_gateway_is_cheaper_beyond_its_first_tier() -> None:
    assert price.gateway(100) == 100
    assert price.gateway(400) == 300 + 50


def test_the_entries_of_a_large_fleet_come_many_at_once() -> None:
    assert price.batch(1000) == 1
    assert 50 < price.batch(10_000_000) <= price.BATCH
    core, _ = price.validation(VALIDATION, ENTRY, servers=10_000_000)
    assert core["the log's function"] == pytest.approx(0.05 + 0.2 / price.batch(10_000_000))


def test_a_month_of_a_fleet_is_its_validations_and_what_is_kept() -> None:
    sizes = {"log entry": 400, "state": 1000, "projection": 1000}
    small, large = (price.month(servers, VALIDATION, ENTRY, sizes) for servers in (1000, 2000))
    kept = "data kept at both sites, with backups"
    assert "KMS signer instead of PEM" not in small
    assert large["DynamoDB writes"] == pytest.approx(2 * small["DynamoDB writes"])
    assert large[kept] == pytest.approx(2 * small[kept])


def test_a_line_with_a_floor_is_held_by_its_ratio() -> None:
    assert Line("CPU", "validation", 30, "µs", 1.5, 20).reached
    assert not Line("CPU", "validation", 31, "µs", 1.5, 20).reached
    assert Line("seats", "reads", 1, "RRU", 1).reached
    assert Line("fleet", "peak", 800, "requests").reached is None


def test_the_table_says_what_is_missed() -> None:
    shown = table([Line("CPU", "validation", 30, "µs", 1.5, 10), Line("seats", "reads", 0, "RRU", 0)])
    assert "3× ≤ 1.5  MISSED" in shown
    assert "0 ≤ 0  reached" in shown
    assert [number(each) for each in (0.0417, 2.345, 55.52, 440.4, 199_950)] == [
        "0.042",
        "2.35",
        "55.5",
        "440",
        "199,950",
    ]


def run(*lines: Line) -> dict[str, Any]:
    return {"commit": "abc", "at": "2026-11-26T10:00:00+00:00", "lines": [each.document() for each in lines]}


def test_two_runs_are_compared_by_ratio_where_there_is_a_floor() -> None:
    before = run(
        Line("CPU", "validation", 20, "µs", 1.5, 10), Line("seats", "reads", 1, "RRU", 1), Line("a", "gone", 1, "x")
    )
    after = run(
        Line("CPU", "validation", 42, "µs", 1.5, 30), Line("seats", "reads", 2, "RRU", 1), Line("a", "made", 1, "x")
    )
    changes = {name: change for name, _, _, change in compare.differences(before, after)}
    assert changes == {
        "CPU: validation": "-30%  now reached",
        "seats: reads": "+100%  NOW MISSED",
        "a: made": "new",
        "a: gone": "gone",
    }


def test_a_little_more_is_noise_in_what_is_measured_and_never_in_what_is_counted() -> None:
    before = run(Line("CPU", "validation", 100, "µs", 1.5, 100), Line("price", "million", 3.00, "$"))
    after = run(Line("CPU", "validation", 103, "µs", 1.5, 100), Line("price", "million", 3.09, "$"))
    assert [change for *_, change in compare.differences(before, after)] == ["≈", "+3%"]


def test_a_quick_or_partial_run_is_told_from_a_whole_one() -> None:
    whole = run() | {"quick": False, "data": {"cpu": 0, "fleet": 0}}
    assert compare.shortfalls(whole, whole) == []
    quick, partial = whole | {"quick": True}, whole | {"data": {"cpu": 0}}
    assert ["--quick" in each for each in compare.shortfalls(whole, quick)] == [True]
    assert ["without fleet" in each for each in compare.shortfalls(whole, partial)] == [True]


def test_a_run_is_found_by_its_commit_and_the_newest_is_taken(tmp_path: Path) -> None:
    for day in ("25", "26"):
        name = f"2026-11-{day}T100000Z-0123456789ab.json"
        (tmp_path / name).write_text(json.dumps({"at": day}), encoding="utf-8")
    assert compare.find("0123456", tmp_path)["at"] == "26"
    assert compare.find("0123456789abcdef0123", tmp_path)["at"] == "26"
    with pytest.raises(FileNotFoundError):
        compare.find("fedcba9", tmp_path)
