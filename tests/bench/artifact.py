"""What `make build` made: its size, and running it as Lambda would, in processes of their own."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from infra.local.stack import ROOT, TEMPLATE
from infra.local.template import read
from tests.bench.report import Line, Part, Say

BUILD = ROOT / ".aws-sam" / "build"
LAYER = BUILD / "LicensingLayer"
#: boto3 as everybody has it, for the floors; pyjwt beside it.
FLOOR = ROOT / ".local" / "bench" / "floor"
_WORKER = Path(__file__).with_name("worker.py")
#: What a function finds in Lambda; none of it is a secret, and nothing of it leads anywhere.
_ENVIRONMENT = {
    "AWS_REGION": "eu-south-1", "AWS_DEFAULT_REGION": "eu-south-1", "AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench",
    "LICENSING_TABLE": "licensing-Licensing", "STATE_TABLE": "licensing-State", "OPERATIONS_TABLE": "licensing-Operations",
    "SEATS_TABLE": "licensing-Seats", "SITE": "primary", "HOME_SITE": "true", "POWERTOOLS_SERVICE_NAME": "licensing",
    "POWERTOOLS_LOG_LEVEL": "INFO", "LAMBDA_TASK_ROOT": "/var/task", "AWS_EC2_METADATA_DISABLED": "true",
}  # fmt: skip


class NotBuilt(Exception):
    """Raised when there is no artifact, or no Python to run it; the message says what to do."""


def runtime() -> str:
    """The functions' Python, where infra/build finds it. Raises NotBuilt."""
    found = [shutil.which("python3.13"), *map(str, sorted(Path.home().glob(".pyenv/versions/3.13*/bin/python3.13")))]
    for each in found:
        if each and subprocess.run([each, "-c", ""], capture_output=True, check=False).returncode == 0:
            return each
    raise NotBuilt("python3.13, the functions' runtime, is not installed")


def handlers() -> dict[str, str]:
    """Every function of the template, with its handler."""
    resources = read(TEMPLATE)["Resources"]
    found = {name: each for name, each in resources.items() if each["Type"] == "AWS::Serverless::Function"}
    return {name: each["Properties"]["Handler"] for name, each in found.items()}


def require_built() -> None:
    """Raises NotBuilt."""
    if not (LAYER / "python" / "licensing" / "__pycache__").is_dir():
        raise NotBuilt("there is no byte-compiled artifact: make build")


def run(function: str, task: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Let the worker do a task with the layer and this function on its path, and nothing else."""
    return _work([LAYER / "python", BUILD / function], task, environment or {})


def floor(task: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Let the worker do a task with boto3 and pyjwt as pip installs them, byte-compiled, and nothing else."""
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    made_for = FLOOR / "constraints.txt"
    if not made_for.exists() or made_for.read_text(encoding="utf-8") != constraints:
        shutil.rmtree(FLOOR, ignore_errors=True)
        pip = [runtime(), "-m", "pip", "install", "--quiet", "--no-compile", "--target", str(FLOOR)]
        subprocess.run([*pip, "-c", str(ROOT / "constraints.txt"), "boto3", "pyjwt[crypto]"], check=True)
        compiled = [runtime(), "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(FLOOR)]
        subprocess.run(compiled, check=True)
        made_for.write_text(constraints, encoding="utf-8")
    return _work([FLOOR], task, environment or {})


def import_times(function: str, module: str) -> str:
    """What ``-X importtime`` says of importing a module; the second time, when the files are in memory."""
    path = os.pathsep.join((str(LAYER / "python"), str(BUILD / function)))
    command = [runtime(), "-P", "-X", "importtime", "-c", f"import {module}"]
    runs = [
        subprocess.run(command, capture_output=True, text=True, check=True, env={**_ENVIRONMENT, "PYTHONPATH": path})
        for _ in range(2)
    ]
    return runs[-1].stderr


def _work(path: list[Path], task: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    done = subprocess.run(
        [runtime(), "-P", str(_WORKER)],
        input=json.dumps(task), capture_output=True, text=True, timeout=300, check=False,
        env={**kept, **_ENVIRONMENT, **environment, "PYTHONPATH": os.pathsep.join(map(str, path))},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{path[-1].name}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _sizes(directory: Path) -> Iterator[tuple[str, int]]:
    for each in directory.rglob("*"):
        if each.is_file():
            yield each.relative_to(directory).parts[0], each.stat().st_size


def measure(say: Say) -> Part:
    """The layer, unzipped, and the largest function."""
    say("measuring the artifact")
    require_built()
    packages: dict[str, int] = {}
    for name, size in _sizes(LAYER / "python"):
        packages[name] = packages.get(name, 0) + size
    functions = {name: sum(size for _, size in _sizes(BUILD / name)) for name in handlers()}
    largest = max(functions, key=lambda name: functions[name])
    size = sum(packages.values()) + functions[largest]
    shown = dict(sorted(packages.items(), key=lambda pair: -pair[1])[:20])
    return Part(
        [Line("artifact", f"layer and function ({largest}), unzipped", size / 1e6, "MB", 60)],
        {"packages": shown, "functions": functions},
    )
