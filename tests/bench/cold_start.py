"""Cold start and memory: importing each handler from the built artifact and making its first client, against a bare boto3."""

from statistics import median

from tests.bench import artifact
from tests.bench.report import Line, Part, Say

ROUNDS = 7
#: The one that a fleet calls.
CHIEF = "ValidateServer"


def measure(say: Say, rounds: int = ROUNDS) -> Part:
    """CPU time: what else this machine does must not count. Rounds over all handlers, each round with its floor; medians."""
    artifact.require_built()
    handlers = {"": "", **artifact.handlers()}
    cpu: dict[str, list[float]] = {name: [] for name in handlers}
    peak: dict[str, list[float]] = {name: [] for name in handlers}
    for at in range(rounds + 1):
        for name, handler in handlers.items():
            say(f"cold starts, round {at} of {rounds}: {name or 'floor'}")
            task = {"kind": "cold", "handler": handler}
            found = artifact.run(name, task) if name else artifact.floor(task)
            if at:  # the first brings the files into memory
                cpu[name].append(found["cpu"] / 1e6)
                peak[name].append(found["peak"] / 1024)
    took = {name: median(found) for name, found in cpu.items()}
    held = {name: median(found) for name, found in peak.items()}
    functions = sorted(artifact.handlers(), key=lambda name: -took[name])
    most = max(functions, key=lambda name: held[name])
    missed = sum(took[name] > 1.35 * took[""] for name in functions)
    return Part(
        [
            Line("cold start", CHIEF, took[CHIEF], "ms", 1.35, took[""]),
            Line(
                "cold start", f"slowest of {len(functions)} ({functions[0]})", took[functions[0]], "ms", 1.35, took[""]
            ),
            Line("cold start", "functions above 1.35×", missed, "functions", 0),
            Line("memory", f"{CHIEF} after a cold start", held[CHIEF], "MB", 1.3, held[""]),
            Line("memory", f"largest of {len(functions)} after a cold start ({most})", held[most], "MB", 1.3, held[""]),
        ],
        {
            "floor": {"ms": took[""], "mb": held[""]},
            "functions": {name: {"ms": took[name], "mb": held[name]} for name in functions},
        },
    )
