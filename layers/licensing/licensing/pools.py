"""A customer's pools as people see them: all that its licenses and its activation key offer, used yet or not (C7, C8, C12)."""

from datetime import datetime

from licensing import activation_keys, deployment, seats
from licensing.contract import SeatRow
from licensing.contract_keys import CustomerPool
from licensing.errors import LeaseTimeInKey, NotFound
from licensing.rules.accounts import Account, standing
from licensing.rules.operations import Origin
from licensing.rules.seats import Pool
from licensing.store import seats as store
from licensing.store.vendor import catalogue


def of_customer(account: Account, now: datetime) -> list[Pool]:
    """The pools of a customer, by application, as its key and its licenses say that they should be."""
    current = activation_keys.current_key(account.customer.customer_id, now)
    found = current.key.pools() if current else []
    known = catalogue()
    for installation_id in account.installations:
        here = standing(account, installation_id, known)
        found += [seats.license_pool(here, each, each.pool_id) for each in here.entitlements if each.pool_id]
    return sorted(found, key=lambda each: (each.application, each.installation_id, each.pool_id))


def find(account: Account, pool_id: str, now: datetime) -> Pool:
    """A pool of a customer: as it is, or before its first use as it should be. Raises NotFound."""
    state = store.get_pool(pool_id)
    known = [state.pool] if state else of_customer(account, now)
    for each in known:
        if (each.pool_id, each.customer_id) == (pool_id, account.customer.customer_id):
            return each
    raise NotFound


def look(pool: Pool, now: datetime) -> CustomerPool:
    """How a pool stands: exact at the moment of the look."""
    installation_id = pool.installation_id or None
    try:
        state = seats.state_of(pool.customer_id, pool.pool_id, now)
    except NotFound:
        return CustomerPool(
            pool_id=pool.pool_id,
            application=pool.application,
            installation_id=installation_id,
            capacity=pool.capacity,
            in_use=0,
            support_in_use=0,
            peak=0,
            peak_since=None,
            valid_from=pool.first_day,
            valid_until=pool.last_day,
            days_left=pool.days_left(now),
            lease_seconds=pool.lease_seconds,
        )
    return CustomerPool(installation_id=installation_id, **state.model_dump())


def live(pool: Pool, now: datetime, *, with_ids: bool) -> list[SeatRow]:
    """Who is in (C7), as ``seats.live``; nobody before the first use."""
    try:
        return seats.live(pool.customer_id, pool.pool_id, now, with_ids=with_ids)
    except NotFound:
        return []


def set_lease_seconds(pool: Pool, seconds: int, by: Origin, now: datetime) -> None:
    """Change how long a lease of a license's pool lasts without a heartbeat, also before its first use. Who holds a seat has the
    new time from the next heartbeat on.

    Raises LeaseTimeInKey for the pool of a key.
    """
    deployment.require_home_site()
    if pool.key_id:
        raise LeaseTimeInKey
    if store.get_pool(pool.pool_id) is None:
        seats.open_pool(pool, now)
    seats.set_lease_seconds(pool.customer_id, pool.pool_id, seconds, by, now)
