"""Daily validation by one honest server (A4, A7): whatever gets lost, it is never accused, and takes no step twice."""

from typing import Any

from licensing.rules.sequence import ServerState

from tests.simulation.cloud import Cloud
from tests.simulation.scenario import Book, Scenario, Server, ServerLaw, activated
from tests.simulation.simulator import must


class Heartbeat(Scenario):
    """One server validates, at noon and by hand; its requests are lost, late and doubled. No step is skipped, doubled or healed."""

    @classmethod
    def prepare(cls, cloud: Cloud) -> Any:
        return activated(cloud)

    def begin(self) -> None:
        milano, token = self.props
        self.book = Book()
        self.law = ServerLaw(self.cloud, milano)
        self.server = Server(self, "server", "machine", self.book, token=token, gen=1, seq=0)
        self.days = 2 + self.pick(5)
        self.law.check()
        self.actor("server", self.serve)

    def serve(self) -> None:
        while self.server.seq < self.days:
            answer = self.server.validate()
            must(answer.valid, f"an honest server is told {answer.code}")
            if self.pick(4) == 3:
                self.server.forget_answer()
                must(self.server.validate().valid, "a repeat is refused")
            self.pause((86400, 60, 1)[self.pick(3)])

    def check(self) -> None:
        state: ServerState = self.law.check()
        must(not state.heals and state.suspected_at is None, "an honest server is taken for a copy")
        must(
            state.seq <= self.server.seq + 1,
            f"{self.server.seq} is the last that was heard of, and the cloud is at {state.seq}",
        )

    def finish(self) -> None:
        must(self.server.count == self.law.state().seq, f"{self.server.count} nonces led to {self.law.state().seq}")
        must(self.server.validate().valid, "it can't go on")
