"""A clock that can be moved, and still runs."""

from datetime import UTC, datetime, timedelta


class MovableClock:
    """The system's clock plus an offset. Calling it gives the time: aware, UTC."""

    def __init__(self) -> None:
        self.offset = timedelta()

    def __call__(self) -> datetime:
        """The time."""
        return datetime.now(UTC) + self.offset

    def set(self, moment: datetime) -> None:
        """Make it ``moment`` (aware) now."""
        self.offset = moment - datetime.now(UTC)

    def advance(self, by: timedelta) -> None:
        """Let ``by`` pass at once; negative turns it back."""
        self.offset += by

    def reset(self) -> None:
        """Back to the system's time."""
        self.offset = timedelta()
