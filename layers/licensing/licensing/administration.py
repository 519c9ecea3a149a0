"""What the vendor, and later the portal, does with an installation that is there (A2, A7, B5)."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from aws_lambda_powertools import Logger

from licensing import identity
from licensing.errors import NotFound
from licensing.rules import accounts as rules
from licensing.rules.accounts import Account, Status, status
from licensing.rules.heartbeat import validate_before
from licensing.rules.sequence import ServerState, release, settle
from licensing.rules.tax_ids import normalize
from licensing.store import accounts, activation_requests, servers, tables
from licensing.store.vendor import catalogue

logger = Logger(child=True)


def find_account(tax_id: str) -> Account:
    """The customer with this tax id. Raises TaxIdInvalid, NotFound."""
    account = accounts.read_by_tax_id(normalize(tax_id))
    if account is None:
        raise NotFound
    return account


def find_installation(account: Account, name: str) -> str:
    """The id of the installation with this name or id. Raises NotFound."""
    for key, each in account.installations.items():
        if name in (key, each.name):
            return key
    raise NotFound


def servers_of(account: Account, now: datetime) -> dict[str, tuple[Status, ServerState | None]]:
    """Each installation's status, and what its server last said."""
    states = servers.get_many(account.installations)
    return {key: (status(each, states.get(key), now), states.get(key)) for key, each in account.installations.items()}


def open_window(tax_id: str, duration: timedelta, now: datetime) -> datetime:
    """Open the window in which a customer's tax id alone is enough to activate (A1); returns its end (UTC)."""
    account = find_account(tax_id)
    until = now + duration
    activation_requests.open_window(account.customer.tax_id, until)
    logger.info("window_opened", customer_id=account.customer.customer_id, until=until.isoformat())
    return until


def rotate_activation_token(customer_id: str, installation_id: str) -> str:
    """Replace an installation's activation token; the old one is unknown from then on. Returns the new one."""
    token = identity.new_secret()
    _change_account(
        customer_id,
        lambda account: rules.change_installation(
            account, installation_id, lambda each: replace(each, activation_token=token)
        ),
    )
    return token


def disable(customer_id: str, installation_id: str) -> None:
    """Disable an installation: its quantities are free, its next validation gets a final no (B5)."""
    state, _ = servers.get(installation_id)
    until = None
    if state.held and state.validated_at:
        until = validate_before(state.validated_at, state.report.time_zone)
    _change_account(customer_id, lambda account: rules.disable(account, installation_id, until))


def enable(customer_id: str, installation_id: str) -> None:
    """Enable an installation again. Nothing is assigned to it until somebody does."""
    _change_account(
        customer_id,
        lambda account: rules.change_installation(account, installation_id, lambda each: replace(each, disabled=False)),
    )


def release_installation(installation_id: str) -> bool:
    """Take an installation from the server that holds it, so that another can activate it (A2).

    Returns whether one held it, as far as is known: after a restored table, release again once it has been heard of.
    """
    return _change_server(installation_id, release)


def settle_clone(installation_id: str) -> None:
    """Decide that there is one server only: whoever comes next goes on (A7)."""
    _change_server(installation_id, settle)


def _change_account(customer_id: str, change: Callable[[Account], Account]) -> None:
    def attempt() -> None:
        before = accounts.read(customer_id)
        if before is None:
            raise NotFound
        accounts.write(before, change(before), catalogue())

    tables.unraced(attempt)


def _change_server(installation_id: str, change: Callable[[ServerState], ServerState]) -> bool:
    def attempt() -> bool:
        state, version = servers.get(installation_id)
        if state.held:
            servers.put(installation_id, change(state), version)
        return state.held

    return tables.unraced(attempt)
