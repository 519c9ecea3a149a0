"""A clock that can be moved, and still runs."""

from datetime import UTC, datetime, timedelta


class MovableClock:
    """The system's clock plus an offset. Calling it gives the time: aware, UTC."""

    def __init__(self) -> None:
        self.offset = timedelta()
        self._stopped: datetime | None = None

    def __call__(self) -> datetime:
        """The time."""
        return self._running() + self.offset

    def _running(self) -> datetime:
        return self._stopped or datetime.now(UTC)

    def stop(self) -> None:
        """Stand still until ``reset``; moving it goes on: how long a test takes is no part of what it tests."""
        self._stopped = datetime.now(UTC)

    def set(self, moment: datetime) -> None:
        """Make it ``moment`` (aware) now."""
        self.offset = moment - self._running()

    def advance(self, by: timedelta) -> None:
        """Let ``by`` pass at once; negative turns it back."""
        self.offset += by

    def reset(self) -> None:
        """Back to the system's time."""
        self.offset = timedelta()
        self._stopped = None
