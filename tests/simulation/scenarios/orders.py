"""Unlocking an order (B1, B2): once, by whoever has the link and the number, while others cancel, scan and assign."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from licensing import administration, allocations, contract_orders, deployment, loading, orders
from licensing.errors import (
    AlreadyUnlocked,
    LicensingError,
    OrderCancelled,
    OrderNumberWrong,
    StaleVersion,
    TooManyRequests,
)
from licensing.rules import limits
from licensing.rules.orders import Order
from licensing.rules.people import VENDOR, User
from licensing.store.accounts import LicenseItem
from licensing.store.operations import OperationItem
from licensing.store.orders import ListedOrderItem, OrderItem

from tests.simulation.cloud import TAX_ID, Cloud
from tests.simulation.scenario import OPERATOR, Scenario, posted
from tests.simulation.simulator import must

_NUMBER = "TP-2026-0815"
_RESELLER = "IT12345670017"
_SELLER = User("user-1", "desk@aurora.example", "Desk", VENDOR)


class Unlocking(Scenario):
    """A reseller unlocks by the link, the vendor over the API, a scanner guesses, somebody cancels, a buyer assigns at once: an
    order is unlocked or cancelled once and for all, with all its licenses or none, and nothing locked is assigned.
    """

    @classmethod
    def prepare(cls, cloud: Cloud) -> Any:
        now = deployment.now()
        reseller = {"name": "Telefonia Padana", "tax_id": _RESELLER, "country": "IT", "may_order": True}
        reseller |= {"contacts": [{"name": "Ordini", "email": "ordini@padana.example"}]}
        loading.load({"resellers": [reseller]}, now)
        body = contract_orders.NewOrder.model_validate(
            {
                "order_number": _NUMBER,
                "reseller": _RESELLER,
                "customer": {"tax_id": TAX_ID},
                "lines": [
                    {"sku": "AQ", "quantity": 3},
                    {"kind": "expansion", "license_code": "AQ-1000", "quantity": 2},
                ],
            }
        )
        taken = orders.take_in(_SELLER, body, now, OPERATOR)
        secret = json.loads(cloud.queue[-1].body)["secret"]
        account = administration.find_account(TAX_ID)
        return taken.order_id, secret, account.customer.customer_id, sorted(account.installations)

    def begin(self) -> None:
        self.order_id, self.secret, self.customer_id, self.places = self.props
        self.order, self.version = self.stored()
        self.answers: dict[str, str] = {}
        self.tries = 0
        #: What is assigned, and how often that changed.
        self.matrix, self.moves = self.assigned(), 0
        self.wrong: list[datetime] = []
        self.actor("reseller", self.unlock_by_link)
        self.actor("vendor", partial(self.unlock, "vendor"))
        if self.pick(2):
            self.actor("vendor-2", partial(self.unlock, "vendor"))
        if self.pick(2):
            self.actor("scanner", self.scan)
        if not self.pick(3):
            self.actor("clerk", self.cancel)
        self.actor("buyer", self.assign)

    def assigned(self) -> dict[str, Any]:
        """The quantities of each license that has some."""
        rows = self.cloud.rows(LicenseItem, self.customer_id)
        return {row.pk + row.sk: dict(row.body.allocations) for row in rows if row.body.allocations}

    def stored(self) -> tuple[Order, int]:
        """The order as it stands."""
        item = self.cloud.find(OrderItem, f"ORDER#{self.order_id}", "ORDER")
        assert item
        return item.body, int(item.version)

    # ── who acts ──

    def unlock_by_link(self) -> None:
        for _ in range(1 + self.pick(2)):
            self.pause((0, 5, 60)[self.pick(3)])
            with suppress(TooManyRequests):
                self.tried("unlock by link", lambda: orders.unlock_by_link(self.secret, _NUMBER, self.now, OPERATOR))

    def tried(self, what: str, serve: Any) -> None:
        """Unlock, or be told why not."""

        def count() -> Any:
            self.tries += 1
            return serve()

        try:
            order = self.ask(what, count)
        except AlreadyUnlocked as refusal:
            at = self.order.unlocked_at
            must(at, "an order is said to be unlocked, and is not")
            assert at
            must(refusal.members["unlocked_at"] == at.strftime("%Y-%m-%dT%H:%M:%SZ"), "the page says another time")
        except OrderCancelled:
            must(self.order.cancelled_at, "an order is said to be cancelled, and is not")
        except TooManyRequests:
            must(self.tries >= limits.UNLOCKS.count, f"turned away after {self.tries} tries")
            raise
        else:
            must(order.unlocked_at == self.order.unlocked_at, "who unlocked it is told another time")

    def unlock(self, key: str) -> None:
        body = contract_orders.Unlock(order_number=_NUMBER)

        def serve() -> contract_orders.OrderAnswer:
            path = f"/v1/orders/{self.order_id}/unlock"
            now = self.now
            text = posted(
                path, body, key, _SELLER.user_id, now,
                lambda keep: orders.unlock(_SELLER, self.order_id, _NUMBER, now, OPERATOR, keep),
            )  # fmt: skip
            must(self.answers.setdefault(key, text) == text, "the same key is answered differently")
            return contract_orders.OrderAnswer.model_validate_json(text)

        for _ in range(1 + self.pick(2)):
            self.pause((0, 10, 120)[self.pick(3)])
            with suppress(TooManyRequests):
                self.tried("unlock", serve)
                if key in self.answers:
                    must(self.order.unlocked_at, "a retry of what succeeded fails")

    def scan(self) -> None:
        for n in range(1 + self.pick(12)):
            self.ask_link()
            try:
                self.tried("guess", lambda n=n: orders.unlock_by_link(self.secret, f"TP-{n}", self.now, OPERATOR))
            except OrderNumberWrong:
                self.wrong.append(self.now)
                recent = [at for at in self.wrong if at > self.now - limits.UNLOCKS.period]
                must(len(recent) <= limits.UNLOCKS.count, f"{len(recent)} wrong numbers were looked at within the hour")
                continue
            except TooManyRequests:
                continue
            must(self.order.state != "waiting", "a wrong number unlocks")

    def ask_link(self) -> None:
        with suppress(OrderCancelled):
            found = self.ask("open the link", lambda: orders.find_by_link(self.secret, self.now))
            must(found.steps.unlocked == (found.order.unlocked_at is not None), "the page shows another step")

    def cancel(self) -> None:
        self.pause((10, 1, 300)[self.pick(3)])
        try:
            self.ask("cancel", lambda: orders.cancel(_SELLER, self.order_id, self.now, OPERATOR))
        except AlreadyUnlocked:
            must(self.order.unlocked_at, "an order can't be cancelled, and is not unlocked")
        else:
            must(self.order.cancelled_at, "an order was cancelled, and is not")

    def assign(self) -> None:
        for _ in range(1 + self.pick(4)):
            self.pause((0, 5, 60)[self.pick(3)])
            account = self.ask("read", lambda: administration.find_account(TAX_ID))
            chosen = sorted(account.licenses)[self.pick(len(account.licenses))]
            quantity, place = self.pick(7), self.places[self.pick(2)]
            wanted = {key: dict(each.allocations) for key, each in account.licenses.items() if each.state != "locked"}
            wanted.setdefault(chosen, {})[place] = quantity
            save = partial(allocations.save, self.customer_id, account.version, wanted, OPERATOR, self.now)
            try:
                self.ask(f"assign {quantity}", save)
            except StaleVersion:
                continue
            except LicensingError as refusal:
                free = account.licenses[chosen].quantity - account.licenses[chosen].assigned
                locked = account.licenses[chosen].state == "locked"
                must(locked or quantity > free, f"{quantity} of {free} free ones can't be assigned: {refusal.code}")

    # ── what must hold ──

    def check(self) -> None:
        order, version = self.stored()
        before, self.order = self.order, order
        if version != self.version:
            must(version == self.version + 1, f"version {version} of the order follows {self.version}")
            must(before.unlocked_at in (None, order.unlocked_at), "an order is unlocked twice")
            must(before.cancelled_at in (None, order.cancelled_at), "an order is cancelled twice")
            must(not (order.unlocked_at and order.cancelled_at), "an order is unlocked and cancelled")
            self.version = version
        ordered = set(order.license_ids)
        licenses = {row.body.license_id: row.body for row in self.cloud.rows(LicenseItem, self.customer_id)}
        for license in licenses.values():
            must(license.assigned <= license.quantity, f"{license.assigned} of {license.quantity} are assigned")
            must(license.state != "locked" or not license.allocations, "a locked license is assigned")
        matrix, self.matrix = self.matrix, self.assigned()
        self.moves += self.matrix != matrix
        states = {licenses[each].state if each in licenses else "gone" for each in ordered}
        meant = {"waiting": {"locked"}, "unlocked": {"active"}, "cancelled": {"gone"}}[order.state]
        must(states == meant, f"an order is {order.state}, and its licenses are {states}")
        for row in self.cloud.rows(ListedOrderItem, "ORDERS"):
            must(row.body.state == order.state, f"an order is {order.state}, and listed as {row.body.state}")

    def finish(self) -> None:
        if self.order.state == "waiting":
            self.simulation.now += timedelta(seconds=limits.UNLOCKS.period.total_seconds() + 1)
            orders.unlock_by_link(self.secret, f" {_NUMBER.lower()} ", self.now, OPERATOR)
            self.check()
            must(self.order.unlocked_at, "an order can't be unlocked")
        told = [row.action for row in self.cloud.rows(OperationItem)]
        changes = told.count("allocations.changed")
        must(changes == self.moves, f"quantities changed {self.moves} times, and that is told {changes} times")
        for action, done in (("unlocked", self.order.unlocked_at), ("cancelled", self.order.cancelled_at)):
            count = told.count(f"order.{action}")
            must(count == (done is not None), f"order.{action} is told {count} times")
