"""How long a license runs: whole years in the customer's calendar, the last day included (domain, "Words"; D6)."""

from datetime import date, timedelta

from licensing.errors import RenewalTooEarly, RenewalTooLate

#: From how many days before its end on something can be renewed.
_RENEWABLE_DAYS = 365


def last_day(first_day: date, years: int) -> date:
    """Start + period - 1 day: a year from 2019-08-08 ends on 2020-08-07."""
    try:
        anniversary = first_day.replace(year=first_day.year + years)
    except ValueError:  # 29 February, in a year that has none
        anniversary = date(first_day.year + years, 3, 1)
    return anniversary - timedelta(days=1)


def renewed(ends: date, years: int, today: date) -> date:
    """The new last day: the old one + period. From 365 days before the end until the end, which is included.

    Raises RenewalTooEarly, RenewalTooLate.
    """
    if today > ends:
        raise RenewalTooLate(last_day=ends.isoformat())
    if (ends - today).days > _RENEWABLE_DAYS:
        from_day = ends - timedelta(days=_RENEWABLE_DAYS)
        raise RenewalTooEarly(last_day=ends.isoformat(), renewable_from=from_day.isoformat())
    return last_day(ends + timedelta(days=1), years)
