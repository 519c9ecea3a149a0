"""Everything that is asked of this machine rather than of a file or a site; tests bring their own."""

from __future__ import annotations

import os
import socket
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from . import ladder
from .clock import since_boot, this_boot
from .fingerprint import of_this_machine

LONGEST_HOST_NAME = 255


def local_time_zone() -> str:
    """The IANA name of this machine's time zone, or `UTC` where it has none."""
    import tzlocal

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # two system files that disagree are the system's matter
            name = tzlocal.get_localzone_name()
    except (LookupError, ValueError, OSError):
        return "UTC"
    return name if name and getattr(ladder.zone(name), "key", None) == name else "UTC"


@dataclass(frozen=True)
class Machine:
    """`wall` in epoch seconds, `monotonic` in seconds that count on through sleep."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = since_boot
    boot_id: Callable[[], str] = this_boot
    fingerprint: Callable[[], Mapping[str, str]] = of_this_machine
    hostname: Callable[[], str] = lambda: socket.gethostname()[:LONGEST_HOST_NAME]
    time_zone: Callable[[], str] = local_time_zone
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
