from __future__ import annotations

import re

from license_manager.fingerprint import collect, digest, matches, of_this_machine


def test_components_are_hashes_that_tell_nothing() -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", digest("mac", "00:11:22:33:44:55"))
    assert digest("mac", "x") != digest("machine_id", "x")


def test_more_than_half_must_match() -> None:
    enrolled = {"a": "1", "b": "2", "c": "3", "d": "4"}
    assert matches(enrolled, {**enrolled, "d": "other"})
    assert not matches(enrolled, {"a": "1", "b": "2"})
    assert matches(enrolled, {**enrolled, "e": "new"})
    assert not matches({}, enrolled)


def fail() -> str:
    raise OSError("not allowed")


def test_a_container_falls_back_until_there_are_three() -> None:
    fallback = {"hostname": lambda: "h", "architecture": lambda: "x86_64", "system": lambda: "Linux"}
    found = collect({"machine_id": lambda: "m", "mac": lambda: None, "cpu_model": fail, "disk": lambda: " "}, fallback)
    assert list(found) == ["machine_id", "hostname", "architecture"]


def test_a_whole_machine_needs_no_fallback() -> None:
    sources = {name: lambda: "value" for name in ("machine_id", "mac", "cpu_model")}
    assert list(collect(sources, {"hostname": lambda: "h"})) == ["machine_id", "mac", "cpu_model"]


def test_this_machine_has_at_least_three_and_the_same_each_time() -> None:
    first = dict(of_this_machine())
    of_this_machine.cache_clear()
    assert dict(of_this_machine()) == first
    assert 3 <= len(first) <= 12
    assert all(re.fullmatch(r"[a-z_]{1,32}", name) for name in first)
