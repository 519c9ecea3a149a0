"""What the vendor, and later the portal, does with an installation that is there (A2, A7, B5)."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from pynamodb.transactions import TransactWrite

from licensing import identity
from licensing.errors import NotFound
from licensing.operations import operation, record_in, recording
from licensing.rules import accounts as rules
from licensing.rules import offline
from licensing.rules import retention as retention_rules
from licensing.rules.accounts import Account, Status, status
from licensing.rules.heartbeat import validate_before
from licensing.rules.operations import Operation, Origin
from licensing.rules.retention import Retention
from licensing.rules.sequence import ServerState, release, settle
from licensing.rules.tax_ids import normalize
from licensing.store import accounts, activation_requests, servers, tables
from licensing.store.vendor import catalogue


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


def open_window(tax_id: str, duration: timedelta, by: Origin, now: datetime) -> datetime:
    """Open the window in which a customer's tax id alone is enough to activate (A1), or move its end, which is returned (UTC).

    Raises NotFound.
    """
    customer = find_account(tax_id).customer
    until = now + duration
    told = operation(customer.customer_id, by, "window.opened", now, customer.customer_id, until=until.isoformat())
    tables.transact(lambda transaction: _open_window_in(transaction, customer.tax_id, until, told))
    return until


def close_window(tax_id: str, by: Origin, now: datetime) -> None:
    """Close the window at once. Raises NotFound."""
    customer = find_account(tax_id).customer
    told = operation(customer.customer_id, by, "window.closed", now, customer.customer_id)
    if activation_requests.window_until(customer.tax_id, now):
        tables.transact(lambda transaction: _open_window_in(transaction, customer.tax_id, now, told))


def _open_window_in(transaction: TransactWrite, tax_id: str, until: datetime, told: Operation) -> None:
    activation_requests.open_window_in(transaction, tax_id, until)
    record_in(transaction, told)


def rotate_activation_token(customer_id: str, installation_id: str, by: Origin, now: datetime) -> str:
    """Replace an installation's activation token; the old one is unknown from then on. Returns the new one."""
    token = identity.new_secret()
    told = operation(customer_id, by, "token.rotated", now, installation_id)
    change_account(
        told,
        lambda account: rules.change_installation(
            account, installation_id, lambda each: replace(each, activation_token=token)
        ),
    )
    return token


def disable(customer_id: str, installation_id: str, by: Origin, now: datetime) -> None:
    """Disable an installation: its quantities are free, its next validation gets a final no (B5).

    Raises NotFound, and AccountError while its offline license is out (B9).
    """
    state, _ = servers.get(installation_id)
    until = None
    if state.held and state.validated_at:
        until = validate_before(state.validated_at, state.report.time_zone)

    def change(account: Account) -> Account:
        disabled = rules.disable(account, installation_id, until)
        offline.check_held(account, disabled, now)
        return disabled

    change_account(operation(customer_id, by, "installation.disabled", now, installation_id), change)


def enable(customer_id: str, installation_id: str, by: Origin, now: datetime) -> None:
    """Enable an installation again. Nothing is assigned to it until somebody does."""
    told = operation(customer_id, by, "installation.enabled", now, installation_id)
    change_account(
        told,
        lambda account: rules.change_installation(account, installation_id, lambda each: replace(each, disabled=False)),
    )


def set_log_retention(customer_id: str, days: int, by: Origin, now: datetime) -> Retention:
    """Keep a customer's operations for so many days (1-3650; A9): longer at once, shorter after seven days.

    Returns the retention as it is from now on; its ``shortening``, if any, is to be announced. Raises NotFound, RetentionError.
    """
    told = operation(customer_id, by, "log.retention_changed", now, customer_id, days=days)

    def change(account: Account) -> Account:
        retention = retention_rules.change(account.customer.log_retention, days, now)
        return replace(account, customer=account.customer.keeping_log(retention))

    return change_account(told, change).customer.log_retention


def release_installation(customer_id: str, installation_id: str, by: Origin, now: datetime) -> bool:
    """Take an installation from the server that holds it, so that another can activate it (A2).

    Returns whether one held it, as far as is known: after a restored table, release again once it has been heard of.
    Raises NotFound, and AccountError while its offline license is out (B9).
    """

    def change(state: ServerState) -> ServerState:
        # After the state was read: a license that goes out in between changes the state, and stops the write.
        account = accounts.read(customer_id)
        if account is None or installation_id not in account.installations:
            raise NotFound
        offline.check_release(account, installation_id, now)
        return release(state)

    return _change_server(operation(customer_id, by, "installation.released", now, installation_id), change)


def settle_clone(customer_id: str, installation_id: str, by: Origin, now: datetime) -> None:
    """Decide that there is one server only: whoever comes next goes on (A7)."""
    _change_server(operation(customer_id, by, "clone.settled", now, installation_id), settle)


def change_account(told: Operation, change: Callable[[Account], Account]) -> Account:
    """Change a customer's account, and tell so. What changes nothing is not told."""

    def attempt() -> Account:
        before = accounts.read(told.customer_id)
        if before is None:
            raise NotFound
        after = change(before)
        accounts.write(before, after, catalogue(), recording(told))
        return after

    return tables.unraced(attempt)


def _change_server(told: Operation, change: Callable[[ServerState], ServerState]) -> bool:
    """Change what is remembered of a server that holds an installation, and tell so."""

    def attempt() -> bool:
        state, version = servers.get(told.subject_id)

        def fill(transaction: TransactWrite) -> None:
            servers.put_in(transaction, told.subject_id, changed, version, told.customer_id)
            record_in(transaction, told)

        changed = change(state)
        if state.held and changed != state:
            tables.transact(fill)
        return state.held

    return tables.unraced(attempt)
