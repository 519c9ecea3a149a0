"""May this server go on? An ordered list of guards; the first that objects names the code (api.md, "Server")."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from licensing.rules.entitlements import Phase, Standing
from licensing.rules.sequence import Kind
from licensing.rules.versions import agent_older, app_older
from licensing.texts import mark


@dataclass(frozen=True, slots=True)
class Policy:
    """What the vendor asks of every server."""

    lowest_agent_version: str | None = None
    lowest_app_version: str | None = None
    releases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the guards look at. ``standing`` is None where the installation exists no more."""

    standing: Standing | None
    step: Kind
    agent_version: str
    app_version: str | None
    policy: Policy
    now: datetime


class Verdict(NamedTuple):
    """The outcome. A *final* no beats grace at once; any other no only withholds a fresh token (A5)."""

    code: str
    final: bool
    detail: str

    @property
    def valid(self) -> bool:
        """Whether the answer is yes."""
        return self.code == "VALID"


class _Guard(NamedTuple):
    code: str
    final: bool
    detail: str
    objects: Callable[[Facts], bool]


def _standing(facts: Facts) -> Standing:
    assert facts.standing is not None  # noqa: S101  the first guard has seen to it
    return facts.standing


def _phases(facts: Facts) -> set[Phase]:
    standing = _standing(facts)
    return {each.phase(standing.today(facts.now)) for each in standing.entitlements}


def _nothing_usable(facts: Facts) -> bool:
    return not _standing(facts).usable(facts.now, facts.app_version, facts.policy.releases)


def _no_license(facts: Facts) -> bool:
    phases = _phases(facts)
    # What begins later is no license yet; it must not be mistaken for one that has ended, which is final.
    return not phases or ("upcoming" in phases and not phases & {"in_force", "suspended"})


def _app_too_old(facts: Facts) -> bool:
    if app_older(facts.app_version, facts.policy.lowest_app_version, facts.policy.releases):
        return True
    # A product's own minimum refuses only that entitlement (B10), unless there is no other.
    return "in_force" in _phases(facts) and _nothing_usable(facts)


GUARDS: tuple[_Guard, ...] = (
    _Guard(
        "INSTALLATION_RELEASED", True,
        mark("This server does not hold the installation any more: it was released. Activate it again to go on."),
        lambda facts: facts.standing is None or facts.step == "released",
    ),
    _Guard(
        "INSTALLATION_DISABLED", True,
        mark("This installation was disabled in the portal. Enable it there to go on."),
        lambda facts: _standing(facts).disabled,
    ),
    _Guard(
        "CUSTOMER_DELETED", True,
        mark("This customer is not served any more. Turn to the vendor."),
        lambda facts: _standing(facts).customer_deleted,
    ),
    _Guard(
        "CLONE_SUSPECTED", False,
        mark("This server seems to exist more than once. Decide in the portal which one is to go on."),
        lambda facts: facts.step == "suspect",
    ),
    _Guard(
        "FINGERPRINT_MISMATCH", False,
        mark("This is not the machine that was activated. Release the installation in the portal, and activate this machine."),
        lambda facts: facts.step == "mismatch",
    ),
    _Guard(
        "AGENT_VERSION_TOO_OLD", False,
        mark("This License Manager is too old. Install the current version."),
        lambda facts: agent_older(facts.agent_version, facts.policy.lowest_agent_version),
    ),
    _Guard(
        "APP_VERSION_TOO_OLD", False,
        mark("This version of the product is too old to be validated online. Update it."),
        _app_too_old,
    ),
    _Guard(
        "OFFLINE_INSTALLATION", False,
        mark("This installation is set to offline: it is licensed by a file. Change its mode in the portal to validate online."),
        lambda facts: _standing(facts).mode == "offline",
    ),
    _Guard(
        "NO_LICENSE", False,
        mark("No license is assigned to this server. Assign one in the portal."),
        _no_license,
    ),
    _Guard(
        "LICENSE_SUSPENDED", False,
        mark("The licenses of this server are suspended. Turn to the vendor."),
        lambda facts: _nothing_usable(facts) and "suspended" in _phases(facts),
    ),
    _Guard(
        "LICENSE_REFUNDED", True,
        mark("The licenses of this server were refunded."),
        lambda facts: _nothing_usable(facts) and "refunded" in _phases(facts),
    ),
    _Guard(
        "EXPIRED", True,
        mark("All licenses of this server have ended. Renew them to go on."),
        _nothing_usable,
    ),
)  # fmt: skip


#: Those that stand before offline activation too. What may be licensed by a file is another rule (B8).
OFFLINE_GUARDS = tuple(
    guard
    for guard in GUARDS
    if guard.code
    in {
        "INSTALLATION_DISABLED",
        "CUSTOMER_DELETED",
        "CLONE_SUSPECTED",
        "AGENT_VERSION_TOO_OLD",
    }
)


def judge(facts: Facts, guards: tuple[_Guard, ...] = GUARDS) -> Verdict:
    """The verdict of the first guard that objects, or ``VALID``."""
    for guard in guards:
        if guard.objects(facts):
            return Verdict(guard.code, guard.final, guard.detail)
    return Verdict("VALID", False, mark("Operation completed"))
