"""What can go wrong, one class for each way in which a caller would react differently.

Every error carries a stable `code`, a sentence for a person, and the exit code of the command that ends with it.
"""

from __future__ import annotations


class LicenseManagerError(Exception):
    """The root of all errors that are told to a person as one sentence, without a traceback."""

    exit_code = 1

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class Misuse(LicenseManagerError):
    """Raised when a command, a setting or an answer file is not what it must be."""

    exit_code = 2


class NotActivated(LicenseManagerError):
    """Raised when a command needs an activated server and this one is not."""

    exit_code = 3


class Unreachable(LicenseManagerError):
    """Raised when no site gave an answer that can be used; `retry_after` is what a site asked for, in seconds.

    `sent` is false where the request certainly had no effect: it reached no site that could have followed it.
    """

    exit_code = 4

    def __init__(self, code: str, detail: str, retry_after: float | None = None, *, sent: bool = True) -> None:
        super().__init__(code, detail)
        self.retry_after = retry_after
        self.sent = sent


class Refused(LicenseManagerError):
    """Raised when a site said no with a problem document (RFC 9457); `members` are its extension members."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        status: int,
        members: dict[str, object] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(code, detail)
        self.status = status
        self.members = members or {}
        self.retry_after = retry_after


class Untrusted(LicenseManagerError):
    """Raised when something signed is not signed, shaped or bound as it must be (F3)."""


class StateDamaged(LicenseManagerError):
    """Raised when the state file can't be read as what the License Manager wrote."""

    exit_code = 3


class NotPrivate(LicenseManagerError):
    """Raised when the home or a file in it belongs to another user of this machine, or is a link."""


class Busy(LicenseManagerError):
    """Raised when another License Manager holds the home's lock for too long."""
