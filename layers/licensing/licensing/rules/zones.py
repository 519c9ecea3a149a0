"""Time zones by their names in the IANA database."""

from functools import lru_cache
from zoneinfo import ZoneInfo

#: Names whose meaning depends on the machine that looks them up, or that mean nothing.
_MEANINGLESS = {"localtime", "Factory", "posixrules"}


@lru_cache(maxsize=1024)
def is_zone(name: str) -> bool:
    """Whether a name means the same time zone everywhere."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return name not in _MEANINGLESS
