"""Activation keys (C1, C2, C9-C11): issued in order, imported at once, by two people and over and over."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

from licensing import (
    activation_keys,
    administration,
    companies,
    contract,
    contract_keys,
    deployment,
    loading,
    seats,
    stations,
)
from licensing.activation_keys import Terms
from licensing.errors import (
    CompanyExists,
    CompanyLimitReached,
    KeyExpired,
    KeyForeignCompany,
    KeyMissing,
    KeyMixedGroups,
    KeyNotYetValid,
    KeySuperseded,
    NotFound,
    PreviewStale,
    SeatLimitReached,
    SilentTooLong,
)
from licensing.rules.activation_keys import Key, key_pool_id
from licensing.store.activation_keys import CompaniesItem, CompanyItem, CurrentKeyItem, IssuedKeyItem
from licensing.store.operations import OperationItem
from licensing.store.seats import UseItem

from tests.simulation.cloud import TAX_ID, Cloud
from tests.simulation.scenario import OPERATOR, Scenario, activated, posted, read
from tests.simulation.scenarios.seats import SeatLaw
from tests.simulation.simulator import must

_SECOND, _THIRD, _OTHERS, _THEIRS = "SE5565678900", "ESA58818501", "IT00484960588", "IT00159560366"
_COMPANIES = (TAX_ID, _SECOND, _THIRD)
_APPLICATIONS = ("erp", "pos")
#: For so long (seconds) a process goes by the key that it read, and so long a request takes at most.
_REMEMBERED = 60 + 30
_PREVIEWED = 3600


@dataclass(frozen=True)
class _Current:
    """What was the current key from a moment on."""

    at: float
    version: int
    key: Key


class ActivationKeys(Scenario):
    """Two people import keys over one another while companies are set up and stations work: a key is in force whole or not
    at all, and an older one never comes back.
    """

    @classmethod
    def prepare(cls, cloud: Cloud) -> Any:
        _, text = activated(cloud)
        now = deployment.now()
        customer = administration.find_account(TAX_ID).customer
        names = dict(zip(_COMPANIES, ("Officine", "Verkstad", "Talleres"), strict=True))
        terms = [  # the first ends soon; companies, seats of each application, companies that may be set up
            ((TAX_ID, _SECOND), {"erp": 2, "pos": 1}, 2, date(2026, 11, 22)),
            (_COMPANIES, {"erp": 3}, 3, date(2027, 10, 31)),
            ((TAX_ID, _THIRD), {"erp": 1, "pos": 2}, 1, date(2027, 11, 30)),
            (_COMPANIES, {"erp": 2, "pos": 1}, None, date(2027, 12, 31)),
        ]
        keys = [
            activation_keys.issue(
                customer.customer_id,
                Terms(
                    {each: names[each] for each in companies},
                    date(2026, 11, 1),
                    ends,
                    quotas,
                    most,
                    lease_seconds=86_400,
                ),
                OPERATOR,
                now,
            )
            for companies, quotas, most, ends in terms
        ]
        stranger = {"name": "Fonderie", "tax_id": _OTHERS, "country": "IT", "time_zone": "Europe/Rome"}
        loading.load({"customers": [stranger]}, now)
        theirs = administration.find_account(_OTHERS).customer.customer_id
        foreign = activation_keys.issue(
            theirs, Terms({_THEIRS: "Presse"}, date(2026, 11, 1), date(2027, 10, 31), {"erp": 9}), OPERATOR, now
        )
        for owner, key in ((theirs, foreign), (customer.customer_id, keys[0])):
            shown = activation_keys.preview(owner, key.text, now)
            activation_keys.import_key(owner, shown.preview_id, OPERATOR, now)
        return read(text, now), customer.customer_id, keys, foreign

    def begin(self) -> None:
        self.token, self.customer_id, self.keys, self.foreign = self.props
        self.known_keys: dict[str, Key] = {each.key.key_id: each.key for each in self.keys}
        self.by_serial = {each.key.serial: each.key for each in self.keys}
        serials = {key_id: key.serial for key_id, key in self.known_keys.items()}
        self.laws = {name: SeatLaw(self.cloud, key_pool_id(self.customer_id, name), serials) for name in _APPLICATIONS}
        self.history: list[_Current] = []
        self.set_up = 0
        #: The keys that somebody is about to confirm, with the version that they were compared with.
        self.confirmed: set[tuple[int, str]] = set()
        #: What was told to the vendor, by serial.
        self.issued: dict[str, str] = {}
        self.answers: dict[str, str] = {}
        self.check()
        for name in ("giulia", "marco"):
            self.actor(name, self.administer)
        self.actor("clerk", self.set_up_companies)
        self.actor("station", self.work)
        if self.pick(3) == 2:
            for name in ("vendor", "schedule"):
                self.actor(name, self.issue)

    @property
    def current(self) -> _Current:
        """The current key."""
        return self.history[-1]

    def recently(self) -> list[Key]:
        """The keys that a process may still go by."""
        now = self.now.timestamp()
        ends = [*(each.at for each in self.history[1:]), now]
        return [each.key for each, end in zip(self.history, ends, strict=True) if end >= now - _REMEMBERED]

    # ── importing ──

    def administer(self) -> None:
        for _ in range(1 + self.pick(3)):
            self.pause((1, 60, 3700)[self.pick(3)])
            with suppress(PreviewStale, KeySuperseded, KeyExpired, NotFound):
                self.import_one()

    def import_one(self) -> None:
        chosen = self.keys[self.pick(len(self.keys))]
        if not self.pick(6):
            self.try_foreign()
            return
        before = self.current.key.serial
        try:
            shown = self.ask("preview", lambda: activation_keys.preview(self.customer_id, chosen.text, self.now))
            must(chosen.key.serial >= before, "a key that is superseded is shown as if it could be imported")
        except KeySuperseded:
            must(self.current.key.serial > chosen.key.serial, "a key is said to be superseded by an older one")
            raise
        except KeyExpired:
            must(chosen.key.phase(self.now) == "ended", "a key in force is said to have ended")
            raise
        previewed, version = self.now.timestamp(), self.current.version
        self.pause((0, 10, 3700)[self.pick(3)])
        reset = not self.pick(3)
        # The version that the preview was compared with may be an earlier one than is current by now.
        self.confirmed.update((n, chosen.key.key_id) for n in range(version + 1))
        body = contract_keys.KeyImport(preview_id=shown.preview_id, confirm=True, reset_peak=reset)
        for _ in range(1 + self.pick(2)):  # somebody is impatient, and presses twice
            try:
                self.ask(f"import key {chosen.key.serial}", partial(self.import_by, chosen.key, body))
            except PreviewStale:
                must(self.current.version > version or self.current.key.key_id != chosen.key.key_id, "nothing is stale")
                raise
            except NotFound:
                must(self.now.timestamp() >= previewed + _PREVIEWED, "a preview is gone within the hour")
                raise
            must(self.current.key.serial >= chosen.key.serial, "a key was imported, and an older one is current")
            if reset:
                self.hold_reset(chosen.key)
            self.pause((0, 5)[self.pick(2)])

    def import_by(self, key: Key, body: contract_keys.KeyImport) -> None:
        def call(_: Any) -> contract_keys.KeyAnswer:
            try:
                imported = activation_keys.import_key(
                    self.customer_id, body.preview_id, OPERATOR, self.now, reset_peak=body.reset_peak
                )
            except PreviewStale:
                must(self.current.key.key_id != key.key_id, "a key that is imported is said to be stale")
                raise
            return contract_keys.key_answer(imported)

        answer = posted("/v1/keys/import", body, body.preview_id, "user", self.now, call)
        must(self.answers.setdefault(body.preview_id, answer) == answer, "the same import is answered differently")

    def try_foreign(self) -> None:
        """A key of another group; companies of another group in a key of this one."""
        try:
            self.ask("preview", lambda: activation_keys.preview(self.customer_id, self.foreign.text, self.now))
        except KeyForeignCompany:
            pass
        else:
            must(False, "another customer's key is shown")
        named = (_OTHERS, _THEIRS)[self.pick(2)]  # the customer itself, or who is in its group
        terms = Terms({TAX_ID: "Officine", named: "Fonderie"}, date(2026, 11, 1), date(2027, 10, 31))
        try:
            self.ask("issue", lambda: activation_keys.issue(self.customer_id, terms, OPERATOR, self.now))
        except KeyMixedGroups:
            return
        must(False, "a company belongs to two groups")

    def hold_reset(self, key: Key) -> None:
        imported = [each.at for each in self.history if each.key.key_id == key.key_id]
        for pool in key.pools():
            use = self.cloud.find(UseItem, pool.pool_id, "USE")
            must(use and use.since >= int(imported[0]) - _REMEMBERED, "the peak was to begin anew, and does not")

    def issue(self) -> None:
        terms = Terms({TAX_ID: "Officine"}, date(2026, 11, 1), date(2028, 1, 31), {"erp": 4})
        for _ in range(1 + self.pick(2)):
            self.pause(self.pick(3))
            made = self.ask("issue", lambda: activation_keys.issue(self.customer_id, terms, OPERATOR, self.now))
            self.issued[made.key.key_id] = made.text

    # ── companies and stations ──

    def set_up_companies(self) -> None:
        for _ in range(1 + self.pick(5)):
            self.pause((1, 30, 400)[self.pick(3)])
            tax_id = _COMPANIES[self.pick(3)]
            there = self.cloud.find(CompanyItem, f"KEYS#{self.customer_id}", f"COMPANY#{tax_id}")
            try:
                if self.pick(3):
                    self.ask(
                        "set up",
                        partial(companies.create, self.customer_id, tax_id, "X", OPERATOR, self.now),
                    )
                    must(any(tax_id in key.companies for key in self.recently()), "a company without a key is set up")
                else:
                    self.ask(
                        "take away",
                        partial(companies.remove, self.customer_id, tax_id, OPERATOR, self.now),
                    )
            except CompanyLimitReached as refusal:
                must(self.set_up >= min(refusal.members["limit"], len(_COMPANIES)), "there was room for a company")
            except (CompanyExists, NotFound):
                pass  # its own request, the answer to which was lost
            except KeyForeignCompany:
                must(any(tax_id not in key.companies for key in self.recently()), f"{there} is in the key")
            except KeyExpired:
                must(any(key.phase(self.now) == "ended" for key in self.recently()), "a key in force has ended")

    def work(self) -> None:
        for turn in range(1 + self.pick(6)):
            self.pause((1, 20, 61, 700)[self.pick(4)])
            company, name = _COMPANIES[self.pick(3)], _APPLICATIONS[self.pick(2)]
            with suppress(SilentTooLong):
                self.seat(f"user-{turn % 3}", company, name)

    def seat(self, user: str, company: str, application: str) -> None:
        body = contract.SeatRequest(
            pool_id=self.laws[application].pool_id, company_tax_id=company, os_user=user, terminal="PC", session="local",
            user_code=user, module="desktop", instance="1",
        )  # fmt: skip

        def serve() -> None:
            now = self.now
            recently = self.recently()
            caller = stations.by_server_token(self.token, now)
            try:
                _, new = seats.lease(caller, body, now)
            except SeatLimitReached:
                raise
            except CompanyLimitReached as refusal:
                must(self.set_up >= min(refusal.members["limit"], len(_COMPANIES)), "there was room for a company")
            except NotFound:
                must(
                    any(application not in key.concurrent for key in [*recently, self.current.key]),
                    "a pool is not there",
                )
            except KeyForeignCompany:
                must(any(company not in key.companies for key in [*recently, self.current.key]), "a company is refused")
            except (KeyExpired, KeyMissing, KeyNotYetValid):
                must(
                    any(key.phase(now) != "in_force" for key in [*recently, self.current.key]), "a key is not in force"
                )
            else:
                names = any(
                    company in key.companies
                    and (application in key.concurrent or not new)  # who is in may finish
                    and key.phase(now) == "in_force"
                    for key in [*recently, self.current.key]
                )
                must(names, "a company is seated that no key names")

        with suppress(SeatLimitReached):
            self.ask(f"seat for {application}", serve)

    # ── what must hold ──

    def check(self) -> None:
        item = self.cloud.find(CurrentKeyItem, f"KEYS#{self.customer_id}", "CURRENT")
        assert item
        if not self.history or item.version != self.current.version:
            self.took(item)
        for law in self.laws.values():
            law.check()
            ends = [each.key.pool("erp").ends_at for each in self.history]
            latest = max(end.timestamp() for end in ends if end)
            must(all(entry.until <= latest for entry in law.seats.values()), "a lease outlives its key")
        self.hold_companies()

    def took(self, item: CurrentKeyItem) -> None:
        version, key = int(item.version), item.body
        must(key.key_id in self.known_keys, "nobody issued the current key")
        must(
            key == self.known_keys[key.key_id] and item.serial == key.serial, "the current key is not as it was issued"
        )
        if self.history:
            before = self.current
            must(version == before.version + 1, f"version {version} follows {before.version}")
            must(key.serial >= before.key.serial, f"key {key.serial} supersedes {before.key.serial}")
            must(
                (before.version, key.key_id) in self.confirmed,
                "a key is imported that nobody saw against the current one",
            )
        self.history.append(_Current(self.cloud.now.timestamp(), version, key))

    def hold_companies(self) -> None:
        partition = f"KEYS#{self.customer_id}"
        count = self.cloud.find(CompaniesItem, partition, "COMPANIES")
        there = sum(1 for _ in self.cloud.rows(CompanyItem, partition))
        counted = int(count.how_many) if count else 0
        must(counted == there, f"{there} companies are set up, and {counted} counted")
        if there > self.set_up:
            most = max(key.most_companies for key in self.recently())
            must(there <= most, f"{there} companies are set up, and {most} allowed")
        self.set_up = there

    def finish(self) -> None:
        self.check()
        done = Counter(
            (row.pk, row.sk[:8], row.subject_id) if row.action == "peak.reset" else row.action
            for row in self.cloud.rows(OperationItem)
        )
        must(
            done["key.imported"] == self.current.version + 1,
            f"version {self.current.version}, {done['key.imported']} imports told",
        )
        twice = [key for key, count in done.items() if isinstance(key, tuple) and count > 1]
        must(not twice, f"a peak was reset twice in the same second: {twice}")
        kept = {item.body.key_id for item in self.cloud.rows(IssuedKeyItem, f"KEYS#{self.customer_id}")}
        must(self.issued.keys() <= kept, "a key was given to the vendor, and is not kept")
        if self.now.timestamp() < self.token.expires_at:
            self.hold_pools()

    def hold_pools(self) -> None:
        """Whoever uses a pool next finds it as the current key says."""
        key = self.current.key
        for name, law in self.laws.items():
            body = contract.SeatRequest(
                pool_id=law.pool_id, company_tax_id=TAX_ID, os_user="last", terminal="PC", session="local",
                user_code="last", module="desktop", instance="1",
            )  # fmt: skip
            with suppress(CompanyLimitReached, SeatLimitReached, NotFound, KeyExpired):
                seats.lease(stations.by_server_token(self.token, self.now), body, self.now)
                must(name in key.concurrent, "a pool is used that the key does not name")
            self.check()
            if name in key.concurrent and key.phase(self.now) == "in_force":
                must(law.serial == key.serial, f"the pool follows key {law.serial}, and {key.serial} is current")
