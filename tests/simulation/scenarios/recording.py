"""The operation log (A9): each change that took effect is in it exactly once, wherever a process dies."""

from collections import Counter
from functools import partial
from typing import Any

from licensing import administration, server_log
from licensing.errors import TemporarilyUnavailable
from licensing.store.accounts import InstallationItem
from licensing.store.operations import OperationItem
from licensing.store.servers import ServerItem

from tests.simulation.cloud import TAX_ID, Cloud, raw
from tests.simulation.scenario import OPERATOR, Book, Scenario, Server, activated
from tests.simulation.simulator import Lost, must

#: One write of the server's item, as its stream tells it: the images before and after.
Change = tuple[dict[str, Any], dict[str, Any]]


class Recording(Scenario):
    """A server validates, two people disable and enable another one, and the stream tells of the server in batches that come late
    and again: what people change is in the log with the change, and what the server does some time later, each once.
    """

    @classmethod
    def prepare(cls, cloud: Cloud) -> Any:
        account = administration.find_account(TAX_ID)
        bergamo = administration.find_installation(account, "Bergamo")
        return *activated(cloud), bergamo, account.customer.customer_id

    def begin(self) -> None:
        self.milano, token, self.bergamo, self.customer_id = self.props
        self.server = Server(self, "server", "machine", Book(), token=token, gen=1, seq=0)
        self.image, self.disabled = self.read_image(), self.is_disabled()
        self.stream: list[Change] = []
        #: What took effect: the server's steps, and people's changes by what the log calls them.
        self.steps, self.changes = set[int](), Counter[str]()
        self.actor("server", self.validate)
        for n in range(2):
            self.actor(f"person-{n}", self.change)
        self.actor("stream", self.tell)

    # ── who acts ──

    def validate(self) -> None:
        for _ in range(2 + self.pick(4)):
            must(self.server.validate().valid, "an honest server is refused")
            self.pause((3600, 86400, 1)[self.pick(3)])

    def change(self) -> None:
        for _ in range(1 + self.pick(4)):
            self.pause((0, 1, 3600)[self.pick(3)])
            act = (administration.disable, administration.enable)[self.pick(2)]
            self.ask(act.__name__, partial(self.changed, act))

    def changed(self, act: Any) -> None:
        act(self.customer_id, self.bergamo, OPERATOR, self.now)

    def tell(self) -> None:
        """The State table's stream: in order, at least once, and as late as it likes; a redrive is later than a day."""
        while self.stream or any(not actor.done for actor in self.simulation.actors if actor.name != "stream"):
            self.pause((1, 60, 3600, 100_000)[self.pick(4)])
            if batch := self.stream[: 1 + self.pick(4)]:
                try:
                    self.simulation.request("record", partial(self.record, batch), allowed=(TemporarilyUnavailable,))
                except (TemporarilyUnavailable, Lost):
                    continue
                if not self.pick(2, 0.2):
                    del self.stream[: len(batch)]

    def record(self, batch: list[Change]) -> None:
        for old, new in batch:
            server_log.record_change(old, new, self.now)

    # ── what must hold ──

    def read_image(self) -> dict[str, Any]:
        """The server's item as its stream has it."""
        return raw(self.cloud.copied_item(ServerItem.Meta.table_name, self.milano))

    def is_disabled(self) -> bool:
        item = self.cloud.find(InstallationItem, self.customer_id, f"INS#{self.bergamo}")
        assert item
        return bool(item.body.disabled)

    def check(self) -> None:
        image, disabled = self.read_image(), self.is_disabled()
        if image != self.image:
            self.stream.append((self.image, image))
            self.image = image
            if int(image["s"]["N"]):
                self.steps.add(int(image["s"]["N"]))
        if disabled != self.disabled:
            self.disabled = disabled
            self.changes["installation.disabled" if disabled else "installation.enabled"] += 1
        told, steps = Counter[str](), Counter[int]()
        for row in self.cloud.rows(OperationItem, f"{self.customer_id}#"):
            if row.action in ("installation.disabled", "installation.enabled"):
                told[row.action] += 1
            if row.action == "server.validated" and row.details:
                steps[int(row.details["seq"])] += 1
        must(told == self.changes, f"{self.changes} took effect, and the log has {told}")
        must(set(steps) <= self.steps, f"the log has {set(steps)}, and {self.steps} were taken")
        must(all(times == 1 for times in steps.values()), f"steps are in the log more than once: {steps}")
        self.told = set(steps)

    def finish(self) -> None:
        self.record(self.stream)
        self.check()
        must(self.told == self.steps, f"{self.steps - self.told} are not in the log")
