"""One state directory on two machines (A7, F2): found out after three heals, until somebody decides."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any

from licensing import administration
from licensing.rules.sequence import ServerState

from tests.simulation.cloud import TAX_ID, Cloud
from tests.simulation.scenario import OPERATOR, Book, Scenario, Server, ServerLaw, activated
from tests.simulation.simulator import must

_HEALS, _PERIOD = 3, timedelta(days=30)


class Clones(Scenario):
    """A server and its copy both validate, and somebody may settle it: at most three heals in 30 days, then nobody goes on."""

    @classmethod
    def prepare(cls, cloud: Cloud) -> Any:
        return activated(cloud)

    def begin(self) -> None:
        milano, token = self.props
        self.milano = milano
        self.book = Book()
        self.law = ServerLaw(self.cloud, milano)
        self.law.check()
        self.settling = False
        self.heals: list[datetime] = []
        self.twins = [
            Server(self, name, "machine", self.book, token=token, gen=1, seq=0) for name in ("server", "copy")
        ]
        for twin in self.twins:
            self.actor(twin.name, partial(self.serve, twin))
        if self.pick(2):
            self.actor("customer", self.settle)

    def serve(self, twin: Server) -> None:
        for _ in range(2 + self.pick(4)):
            answer = twin.validate()
            must(answer.valid or answer.code == "CLONE_SUSPECTED", f"{twin.name} is told {answer.code}")
            must(not answer.final, "a suspicion is final")
            self.pause((600, 86400, 1)[self.pick(3)])

    def settle(self) -> None:
        self.pause(self.pick(5) * 43200)
        self.settling = True
        self.ask("settle", self.settled)

    def settled(self) -> None:
        customer_id = administration.find_account(TAX_ID).customer.customer_id
        administration.settle_clone(customer_id, self.milano, OPERATOR, self.now)

    def check(self) -> None:
        before: ServerState = self.law.before
        after = self.law.check()
        lifted = before.suspected_at is not None and after.suspected_at is None
        must(self.settling or not lifted, "nobody lifted the suspicion")
        must(before.suspected_at is None or lifted or after.seq == before.seq, "a suspect goes on")
        new = [at for at in after.heals if at not in before.heals or after.heals.count(at) > before.heals.count(at)]
        if before.heals and not after.heals:
            self.heals.clear()
        self.heals += new[-1:]
        recent = [at for at in self.heals if self.now - at < _PERIOD]
        must(len(recent) <= _HEALS, f"{len(recent)} heals in 30 days")
        said = [at for at in self.book.healed.values() if self.now - at < _PERIOD]
        must(self.settling or len(said) <= _HEALS, f"{len(said)} times a copy was let go on")

    def finish(self) -> None:
        for _ in range(_HEALS + 1):
            codes = [twin.validate().code for twin in self.twins]
            if "VALID" not in codes:
                break
        must(codes == ["CLONE_SUSPECTED", "CLONE_SUSPECTED"], f"a copy is not found out: {codes}")
        self.settling = True
        self.settled()
        must(self.twins[0].validate().valid, "settled, it does not go on")
