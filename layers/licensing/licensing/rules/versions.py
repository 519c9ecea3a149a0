"""Which versions may validate (A8, B10)."""

from collections.abc import Sequence


def agent_older(version: str, lowest: str | None) -> bool:
    """Whether a License Manager's dotted version comes before ``lowest``; 1.2 and 1.2.0 are the same."""
    return lowest is not None and _parts(version) < _parts(lowest)


def _parts(version: str) -> list[int]:
    parts = [int(part) for part in version.split(".")]
    while parts and parts[-1] == 0:
        parts.pop()
    return parts


def app_older(version: str | None, lowest: str | None, releases: Sequence[str]) -> bool:
    """Whether a suite release comes before ``lowest`` in the vendor's ordered list, oldest first (B10).

    A release that the list does not name passes: a vendor who ships before listing must not stop its own customers.
    """
    if version is None or lowest is None or version not in releases or lowest not in releases:
        return False
    return releases.index(version) < releases.index(lowest)
