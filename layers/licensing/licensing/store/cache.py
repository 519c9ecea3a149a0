"""What is read often and changes rarely, kept by the process for a minute."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

T = TypeVar("T")

_AT_MOST = timedelta(minutes=1)


class Cached(Generic[T]):
    """The last answer of ``read``, at most a minute old by the deployment's clock, whichever way that is moved."""

    def __init__(self, read: Callable[[], T]) -> None:
        self._read = read
        self._last: tuple[datetime, T] | None = None

    def __call__(self, now: datetime) -> T:
        """The answer. Raises what ``read`` raises."""
        if self._last is None or abs(now - self._last[0]) > _AT_MOST:
            self._last = now, self._read()
        return self._last[1]

    def forget(self) -> None:
        """Read anew at the next use."""
        self._last = None
