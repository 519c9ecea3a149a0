from __future__ import annotations

import re

from license_manager.fingerprint import Collector, digest, matches, of_this_machine


def test_components_are_hashes_that_tell_nothing() -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", digest("mac", "00:11:22:33:44:55"))
    assert digest("mac", "x") != digest("machine_id", "x")


def test_more_than_half_must_match() -> None:
    enrolled = {"a": "1", "b": "2", "c": "3", "d": "4"}
    assert matches(enrolled, {**enrolled, "d": "other"})
    assert not matches(enrolled, {"a": "1", "b": "2"})
    assert matches(enrolled, {**enrolled, "e": "new"})
    assert not matches({}, enrolled)


def forbidden() -> str:
    raise PermissionError("not allowed")


def test_a_container_falls_back_until_there_are_three() -> None:
    fallback = {"hostname": lambda: "h", "architecture": lambda: "x86_64", "system": lambda: "Linux"}
    sources = {"machine_id": lambda: "m", "mac": lambda: None, "cpu_model": forbidden, "disk": lambda: " "}
    found = Collector(sources, fallback)()
    assert list(found) == ["machine_id", "hostname", "architecture"]


def test_a_source_that_failed_for_a_moment_is_asked_again() -> None:
    answers = iter([OSError(24, "Too many open files"), "m", "other"])

    def machine_id() -> str:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    spare = {name: lambda: "value" for name in ("hostname", "architecture", "system")}
    components = Collector({"machine_id": machine_id}, spare)
    assert "machine_id" not in components()
    expected = digest("machine_id", "m")
    assert (components()["machine_id"], components()["machine_id"]) == (expected, expected)


def test_a_whole_machine_needs_no_fallback() -> None:
    sources = {name: lambda: "value" for name in ("machine_id", "mac", "cpu_model")}
    assert list(Collector(sources, {"hostname": lambda: "h"})()) == ["machine_id", "mac", "cpu_model"]


def test_this_machine_has_at_least_three_and_the_same_each_time() -> None:
    first = dict(of_this_machine())
    assert of_this_machine() is of_this_machine()
    assert Collector(of_this_machine._sources, of_this_machine._fallback)() == first
    assert 3 <= len(first) <= 12
    assert all(re.fullmatch(r"[a-z_]{1,32}", name) for name in first)
