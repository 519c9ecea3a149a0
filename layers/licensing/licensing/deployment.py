"""The one place that reads the environment, and the one clock."""

import os
from collections.abc import Callable
from datetime import UTC, datetime

from licensing.errors import OnlyAtHomeSite


def _system_clock() -> datetime:
    return datetime.now(UTC)


#: Aware, UTC. The local stack puts a clock here that can be moved.
clock: Callable[[], datetime] = _system_clock


def now() -> datetime:
    """The time that everything in the deployment goes by: aware, UTC, whole seconds as in tokens (RFC 7519)."""
    return clock().replace(microsecond=0)


def licensing_table() -> str:
    """Name of the table of customers, licenses and look-ups."""
    return os.environ["LICENSING_TABLE"]


def state_table() -> str:
    """Name of the table of what servers last said."""
    return os.environ["STATE_TABLE"]


def region() -> str:
    """The AWS region this runs in."""
    return os.environ["AWS_REGION"]


def site() -> str:
    """``primary`` or ``backup``."""
    return os.environ["SITE"]


def is_home_site() -> bool:
    """Whether claims (activation, deactivation) are decided here; validations are served by both sites."""
    return os.environ["HOME_SITE"] == "true"


def require_home_site() -> None:
    """Claims are decided at one site only. Raises OnlyAtHomeSite elsewhere."""
    if not is_home_site():
        raise OnlyAtHomeSite


def issuer() -> str:
    """``iss`` of all that this deployment signs."""
    return os.environ["ISSUER"]


def activation_code_queue_url() -> str:
    """The queue from which one-time codes are mailed."""
    return os.environ["ACTIVATION_CODE_QUEUE_URL"]


def mail_sender() -> str:
    """From whom e-mails come."""
    return os.environ["MAIL_SENDER"]
