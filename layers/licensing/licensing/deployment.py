"""The one place that reads the environment, the one clock, and how patient we are with AWS."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from botocore.config import Config

from licensing.errors import OnlyAtHomeSite

#: Seconds, and tries in all: three calls in a row that fail altogether stay within a function's 25 seconds.
CONNECT_TIMEOUT, READ_TIMEOUT, TRIES = 1, 2, 3


@lru_cache
def aws_client(service: str) -> Any:
    """A client of boto3, made once: that takes longer than most calls."""
    import boto3  # most functions need none, and it is a third of a cold start

    retries = {"mode": "standard", "total_max_attempts": TRIES}
    config = Config(connect_timeout=CONNECT_TIMEOUT, read_timeout=READ_TIMEOUT, retries=retries)  # type: ignore[arg-type]
    return boto3.client(service, config=config)  # type: ignore[call-overload]


def _system_clock() -> datetime:
    return datetime.now(UTC)


#: Aware, UTC. The local stack puts a clock here that can be moved.
clock: Callable[[], datetime] = _system_clock


#: Whether webhooks may lead to this machine itself, without TLS. The local stack says so; nothing that deploys can.
loopback_webhooks = False


def now() -> datetime:
    """The time that everything in the deployment goes by: aware, UTC, whole seconds as in tokens (RFC 7519)."""
    return clock().replace(microsecond=0)


def licensing_table() -> str:
    """Name of the table of customers, licenses and look-ups."""
    return os.environ["LICENSING_TABLE"]


def state_table() -> str:
    """Name of the table of what servers last said."""
    return os.environ["STATE_TABLE"]


def operations_table() -> str:
    """Name of the table of the operation log."""
    return os.environ["OPERATIONS_TABLE"]


def seats_table() -> str:
    """Name of the table of pools and their seats."""
    return os.environ["SEATS_TABLE"]


def denial_queue_url() -> str:
    """The queue from which refused seats are recorded."""
    return os.environ["DENIAL_QUEUE_URL"]


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


def mail_queue_url() -> str:
    """The queue from which all other e-mails are sent."""
    return os.environ["MAIL_QUEUE_URL"]


def alert_queue_url() -> str:
    """The queue of what is to be done about alerts."""
    return os.environ["ALERT_QUEUE_URL"]


def webhook_queue_url() -> str:
    """The queue from which events go to webhooks."""
    return os.environ["WEBHOOK_QUEUE_URL"]


def event_bus() -> str:
    """Name of the EventBridge bus that events are put on."""
    return os.environ["EVENT_BUS"]


def user_pool_id() -> str:
    """Where users and their passwords are kept."""
    return os.environ["USER_POOL_ID"]


def user_pool_client_id() -> str:
    """The portal, as the user pool knows it."""
    return os.environ["USER_POOL_CLIENT_ID"]


def log_cleanup_queue_url() -> str:
    """The queue from which the operation log is sealed and cleaned."""
    return os.environ["LOG_CLEANUP_QUEUE_URL"]


def archive_bucket() -> str:
    """The bucket that gets operations before they are deleted; empty for none."""
    return os.environ.get("ARCHIVE_BUCKET", "")


def seal_bucket() -> str:
    """The bucket that keeps copies of the operation log's seals under object lock."""
    return os.environ["SEAL_BUCKET"]


def mail_sender() -> str:
    """From whom e-mails come."""
    return os.environ["MAIL_SENDER"]


def mail_configuration_set() -> str:
    """What lets SES tell the fate of an e-mail."""
    return os.environ["MAIL_CONFIGURATION_SET"]
