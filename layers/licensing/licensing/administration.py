"""What people do with installations, in the portal, by the API or from the vendor's command line (A2, A7, B4, B5)."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

from pynamodb.transactions import TransactWrite

from licensing import identity, retention_mail
from licensing.errors import NotFound, OfflineLicenseOut
from licensing.operations import operation, record_in, recording
from licensing.rules import accounts as rules
from licensing.rules import installations, offline
from licensing.rules import retention as retention_rules
from licensing.rules.accounts import Account, AccountError, Installation, Status, status
from licensing.rules.entitlements import Mode, Purpose
from licensing.rules.heartbeat import validate_before
from licensing.rules.installations import Overview, overview
from licensing.rules.operations import Operation, Origin
from licensing.rules.retention import Retention
from licensing.rules.sequence import ServerState, release, settle
from licensing.rules.tax_ids import normalize
from licensing.store import accounts, activation_requests, servers, tables
from licensing.store.vendor import catalogue

#: Adds to the transaction of a change what else is to be written with it, such as the answer that tells of it.
Also = Callable[[TransactWrite, Overview], None]


def _nothing(transaction: TransactWrite, seen: Overview) -> None:
    """For who wants nothing else written."""


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


def find_overview(account: Account, installation_id: str, now: datetime) -> Overview:
    """What there is to know of one installation of an account. Raises NotFound."""
    state, _ = servers.get(installation_id)
    return overview(account, installation_id, state, catalogue(), now)


def overviews(account: Account, now: datetime) -> list[Overview]:
    """All installations of an account, a second old at most."""
    states, sold = servers.get_many(account.installations), catalogue()
    return [overview(account, key, states.get(key), sold, now) for key in account.installations]


def create_installation(
    customer_id: str, name: str, purpose: Purpose | None, mode: Mode, by: Origin, now: datetime, also: Also = _nothing
) -> Overview:
    """Add a server, to which quantities can then be assigned (B4). Raises NotFound, NameTaken."""
    installation = Installation(identity.new_id("ins", now), name, mode, purpose)
    told = operation(customer_id, by, "installation.created", now, installation.installation_id, name=name)
    return _change_installation(told, lambda account, _: installations.add(account, installation), also)


def change_installation(
    customer_id: str,
    installation_id: str,
    members: Mapping[str, object],
    by: Origin,
    now: datetime,
    also: Also = _nothing,
) -> Overview:
    """Change an installation's ``name``, ``purpose`` or ``mode``.

    Raises NotFound, NameTaken, OfflineNotAllowed (B8), and OfflineLicenseOut while its offline license is out (B9).
    """
    told = operation(
        customer_id, by, "installation.changed", now, installation_id,
        **{name: str(value) for name, value in members.items() if value is not None},
    )  # fmt: skip
    sold = catalogue()
    return _change_installation(
        told, lambda account, _: installations.change(account, installation_id, members, sold), also
    )


def remove_installation(customer_id: str, installation_id: str, by: Origin, now: datetime) -> None:
    """Delete an installation that no server ever activated. Raises NotFound, InstallationInUse."""

    def attempt() -> None:
        state, _ = servers.get(installation_id)
        before = _account(customer_id)
        after = installations.remove(before, installation_id, state)
        name = before.installations[installation_id].name
        told = operation(customer_id, by, "installation.deleted", now, installation_id, name=name)
        unclaimed = servers.check_unknown_in(installation_id)
        accounts.write(before, after, catalogue(), recording(told), check=unclaimed)

    tables.unraced(attempt)


def rotate_activation_token(
    customer_id: str, installation_id: str, by: Origin, now: datetime, also: Also = _nothing
) -> str:
    """Replace an installation's activation token; the old one is unknown from then on. Returns the new one."""
    token = identity.new_secret()
    told = operation(customer_id, by, "token.rotated", now, installation_id)
    _change_installation(
        told,
        lambda account, _: rules.change_installation(
            account, installation_id, lambda each: replace(each, activation_token=token)
        ),
        also,
    )
    return token


def disable(customer_id: str, installation_id: str, by: Origin, now: datetime, also: Also = _nothing) -> Overview:
    """Disable an installation: its quantities are free, its next validation gets a final no (B5).

    Raises NotFound, and OfflineLicenseOut while its offline license is out (B9).
    """

    def change(account: Account, state: ServerState) -> Account:
        until = None
        if state.held and state.validated_at:
            until = validate_before(state.validated_at, state.report.time_zone)
        return rules.disable(account, installation_id, until)

    told = operation(customer_id, by, "installation.disabled", now, installation_id)
    return _change_installation(told, change, also)


def enable(customer_id: str, installation_id: str, by: Origin, now: datetime, also: Also = _nothing) -> Overview:
    """Enable an installation again. Nothing is assigned to it until somebody does."""
    told = operation(customer_id, by, "installation.enabled", now, installation_id)
    return _change_installation(
        told,
        lambda account, _: rules.change_installation(
            account, installation_id, lambda each: replace(each, disabled=False)
        ),
        also,
    )


def set_log_retention(customer_id: str, days: int, by: Origin, now: datetime) -> Retention:
    """Keep a customer's operations for so many days (1-3650; A9): longer at once, shorter after seven days.

    Returns the retention as it is from now on; its ``shortening``, if any, is announced. Raises NotFound, RetentionError.
    """

    def attempt() -> Retention:
        before = _account(customer_id)
        former = before.customer.log_retention
        retention = retention_rules.change(former, days, now)
        changed = before.customer.keeping_log(retention)
        retention_mail.announce(before.customer, changed)
        dropped = former.shortening if former.shortening and former.shortening.since > now else None
        told = operation(
            customer_id, by, "log.retention_changed", now, customer_id, days=days, days_before=former.in_force(now),
            announced_before=dropped.days if dropped else None,
            holds_from=(retention.shortening.since if retention.shortening else now).isoformat(timespec="seconds"),
        )  # fmt: skip
        accounts.write(before, replace(before, customer=changed), catalogue(), recording(told))
        return retention

    return tables.unraced(attempt)


def release_installation(
    customer_id: str, installation_id: str, by: Origin, now: datetime, also: Also = _nothing
) -> bool:
    """Take an installation from the server that holds it, so that another can activate it (A2).

    Returns whether one held it, as far as is known: after a restored table, release again once it has been heard of.
    Raises NotFound, and OfflineLicenseOut while its offline license is out (B9).
    """

    def change(account: Account, state: ServerState) -> ServerState:
        with _held_offline(account, installation_id):
            offline.check_release(account, installation_id, now)
        return release(state)

    return _change_server(operation(customer_id, by, "installation.released", now, installation_id), change, also)


def settle_clone(customer_id: str, installation_id: str, by: Origin, now: datetime, also: Also = _nothing) -> None:
    """Decide that there is one server only: whoever comes next goes on (A7)."""
    _change_server(
        operation(customer_id, by, "clone.settled", now, installation_id), lambda _, state: settle(state), also
    )


def _account(customer_id: str) -> Account:
    account = accounts.read(customer_id)
    if account is None:
        raise NotFound
    return account


def change_account(told: Operation, change: Callable[[Account], Account]) -> Account:
    """Change a customer's account, and tell so. What changes nothing is not told."""

    def attempt() -> Account:
        before = _account(told.customer_id)
        after = change(before)
        accounts.write(before, after, catalogue(), recording(told))
        return after

    return tables.unraced(attempt)


def _change_installation(told: Operation, change: Callable[[Account, ServerState], Account], also: Also) -> Overview:
    """Change the account for the sake of one installation, and tell so."""

    def attempt() -> Overview:
        state, _ = servers.get(told.subject_id)
        before, sold = _account(told.customer_id), catalogue()
        after = change(before, state)
        with _held_offline(before, told.subject_id):
            offline.check_held(before, after, told.at)
        seen = overview(after, told.subject_id, state, sold, told.at)

        def fill(transaction: TransactWrite) -> None:
            record_in(transaction, told)
            also(transaction, seen)

        accounts.write(before, after, sold, fill)
        return seen

    return tables.unraced(attempt)


def _change_server(told: Operation, change: Callable[[Account, ServerState], ServerState], also: Also) -> bool:
    """Change what is remembered of a server that holds an installation, and tell so."""

    def attempt() -> bool:
        # The state before the account: a license that goes out in between changes the state, and stops the write.
        state, version = servers.get(told.subject_id)
        account = _account(told.customer_id)
        if told.subject_id not in account.installations:
            raise NotFound
        changed = change(account, state)

        def fill(transaction: TransactWrite) -> None:
            servers.put_in(transaction, told.subject_id, changed, version, told.customer_id)
            record_in(transaction, told)
            also(transaction, overview(account, told.subject_id, changed, catalogue(), told.at))

        if state.held and changed != state:
            tables.transact(fill)
        return state.held

    return tables.unraced(attempt)


@contextmanager
def _held_offline(account: Account, installation_id: str) -> Iterator[None]:
    try:
        yield
    except AccountError as error:
        raise OfflineLicenseOut(installation=account.installations[installation_id].name) from error
