"""Runs the functions in this process, as Lambda would: by their handler path, with their environment, one at a time."""

import contextlib
import importlib
import io
import os
import time
import traceback
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from infra.local.aws import LOCK
from infra.local.template import ACCOUNT, Function, Trigger


class FunctionFailed(Exception):
    """Raised when a handler raised; the message says what, the traceback is in the functions' log."""


@dataclass(frozen=True)
class Site:
    """Where an invocation takes place: what differs in the environment between the sites."""

    name: str
    site: str
    region: str
    home: bool

    @property
    def environment(self) -> dict[str, str]:
        """The variables."""
        home = "true" if self.home else "false"
        return {"SITE": self.site, "HOME_SITE": home, "AWS_REGION": self.region, "AWS_DEFAULT_REGION": self.region}


class Context:
    """What Lambda hands to a handler beside the event."""

    function_version = "$LATEST"
    log_stream_name = "local"

    def __init__(self, function: Function, region: str) -> None:
        self.function_name = function.name
        self.memory_limit_in_mb = function.memory
        self.invoked_function_arn = f"arn:aws:lambda:{region}:{ACCOUNT}:function:{function.name}"
        self.log_group_name = f"/licensing/local/{function.name}"
        self.aws_request_id = str(uuid.uuid4())
        self._end = time.monotonic() + function.timeout

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function's timeout; nobody enforces it here."""
        return max(0, int((self._end - time.monotonic()) * 1000))


class _Log(io.TextIOBase):
    """Where functions print. Loggers keep the stream they were made with, so it is one for good that can turn."""

    def __init__(self) -> None:
        self.target: TextIO | None = None

    def write(self, text: str) -> int:
        """Write to wherever it goes at the moment; nowhere is fine."""
        if self.target:
            self.target.write(text)
            self.target.flush()
        return len(text)

    def writable(self) -> bool:
        """It is."""
        return True


_LOG = _Log()


class Functions:
    """The template's functions. Their output goes to ``log`` (None: nowhere); the environment is put back by close."""

    def __init__(self, functions: Iterable[Function], log: Path | None = None) -> None:
        self.all: Mapping[str, Function] = {each.name: each for each in functions}
        self.running: Function | None = None
        self.log = _LOG
        self._before = dict(os.environ)
        self._file = log.open("a", encoding="utf-8") if log else None
        _LOG.target = self._file or _LOG.target

    def triggers(self, *types: str) -> Iterator[tuple[Function, Trigger]]:
        """Every function and event of these SAM types."""
        for function in self.all.values():
            for trigger in function.triggers:
                if trigger.type in types:
                    yield function, trigger

    def invoke(self, function: Function, event: Mapping[str, Any], site: Site) -> Any:
        """Run a function, and return what it returns.

        Raises FunctionFailed when the handler raises.
        """
        with LOCK, contextlib.redirect_stdout(_LOG), contextlib.redirect_stderr(_LOG):
            os.environ.update({**function.environment, **site.environment})
            self.running = function
            try:
                module, _, name = function.handler.rpartition(".")
                handler = getattr(importlib.import_module(module), name)
                return handler(event, Context(function, site.region))
            except Exception as error:
                _LOG.write(traceback.format_exc())
                raise FunctionFailed(f"{function.name}: {type(error).__name__}: {error}") from error
            finally:
                self.running = None

    def close(self) -> None:
        """Put the environment back, and close the log."""
        os.environ.clear()
        os.environ.update(self._before)
        if self._file:
            _LOG.target = None
            self._file.close()
