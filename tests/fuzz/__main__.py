"""Schemathesis against the OpenAPI document and the local stack, on loopback: ``make fuzz``.

Every route as the vendor, as servers and as stations; then all that users call as a customer's administrator and as a reseller,
with somebody else's credentials tried on all that they get. The same seed makes the same cases, up to the ids, which each
stack makes for itself. Ends with how many cases went to how many routes, and with 1 if anything was found.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis.cli import schemathesis as command

import tests.conftest  # noqa: F401  # the environment, before anything of ours is imported
from infra.openapi import DOCUMENT
from tests.fuzz import checks
from tests.fuzz.world import Signer, World, running
from tests.support.visitor import CAMILA, GIULIA, MARTA, PAOLO, RAFAEL

#: Who calls, and whose credentials are tried on what the first one gets.
CALLERS: dict[str, list[str]] = {"vendor": [MARTA], "administrator": [GIULIA, RAFAEL], "reseller": [PAOLO, CAMILA]}

#: What makes sense as an answer to a request that the document allows: it can't say all that makes sense.
_TO_GOOD = ["2xx", "401", "403", "404", "409", "410", "422", "429"]
_TO_BAD = ["400", "401", "403", "404", "409", "413", "415", "422", "429", "431"]


def configuration(world: World, caller: str, cases: int, directory: Path) -> dict[str, Any]:
    """Schemathesis' configuration. What exists, theirs and others', stands in dictionaries, and is drawn every other time."""
    settings: dict[str, Any] = {
        "generation": {"with-security-parameters": False, "allow-x00": True, "max-examples": cases, "database": "none"},
        # Chains of requests are what one route alone does not show.
        "phases": {
            "stateful": {"generation": {"max-examples": 10 * cases}, "inference": {"algorithms": []}},
        },
        # Cancelled orders and deleted customers can still be looked at; nothing else that was deleted can.
        "operations": [
            {"include-name": f"GET /v1/{path}", "checks": {"use_after_free": {"enabled": False}}}
            for path in ("orders/{order_id}", "customers/{customer_id}")
        ],
        "cache": {"enabled": False},
        "warnings": False,
        "checks": {
            # API Gateway answers 404 to a method without a route: checks.py holds that instead.
            "unsupported_method": {"enabled": False},
            "positive_data_acceptance": {"expected-statuses": _TO_GOOD},
            "negative_data_rejection": {"expected-statuses": _TO_BAD},
        },
        "dictionaries": {name: {"values": values} for name, values in world.known.items()},
        "parameters": {
            place: {"dictionary": name, "probability": 0.6} for name in world.known for place in world.places(name)
        },
    }
    if len(CALLERS[caller]) > 1:
        users = [
            {"name": email, "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {world.token(email)}"}]}
            for email in CALLERS[caller]
        ]
        path = directory / "users.json"
        path.write_text(json.dumps({"auth": users}), encoding="utf-8")
        settings["auth"] = {"wfc": {"path": str(path), "user": CALLERS[caller][0], "peers": CALLERS[caller]}}
    return settings


def toml(value: Any) -> str:
    """TOML's inline values are JSON's, but for objects."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {toml(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def run(caller: str, cases: int, seed: int, options: list[str]) -> int:
    """All phases of Schemathesis for one caller, in this process."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary, running(Path(temporary) / "stack") as world:
        directory = Path(temporary)
        if caller == "vendor":
            schemathesis.auth.set_from_requests(Signer(world, MARTA))
        else:
            options = [*(f"--include-tag={tag}" for tag in ("User", "Keys", "Orders", "Pools")), *options]
        tally = checks.install(world, caller)
        file = directory / "schemathesis.toml"
        settings = configuration(world, caller, cases, directory)
        file.write_text("".join(f"{name} = {toml(value)}\n" for name, value in settings.items()), encoding="utf-8")
        arguments = [
            "--config-file", str(file), "--no-color",
            "run", str(DOCUMENT), "--url", world.cloud.stack.sites[0].url, "--seed", str(seed), *options,
        ]  # fmt: skip
        try:
            command.main(arguments, standalone_mode=False)
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        if caller == "vendor":
            print("Nothing but refusals:", *(tally.only_refused or ["none"]), sep="\n  ")
            # What was made to fit there did not.
            status = status or int(any(route in world.fitting for route in tally.only_refused))
        print(f"{caller}: {tally}, in {time.monotonic() - begin:.0f} s, seed {seed}")
    return status


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "--as", dest="caller", choices=CALLERS, help="only as one of them; further options are Schemathesis' own"
    )
    parser.add_argument(
        "--cases", type=int, default=20, help="examples for each route, beside those that cover its schema"
    )
    parser.add_argument("--seed", type=int, default=1)
    chosen, options = parser.parse_known_args()
    if chosen.caller:
        return run(chosen.caller, chosen.cases, chosen.seed, options)

    def apart(caller: str) -> subprocess.CompletedProcess[str]:
        """moto has one memory for a process."""
        again = [sys.executable, "-m", "tests.fuzz", "--as", caller, "--cases", str(chosen.cases)]
        return subprocess.run(
            [*again, "--seed", str(chosen.seed), *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(apart, CALLERS))
    for each in ended:
        print(each.stdout if each.returncode else each.stdout.rstrip().rpartition("\n")[2])
    found = sum(each.returncode != 0 for each in ended)
    print(f"failed as {found} of {len(CALLERS)} callers" if found else "0 failures")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
