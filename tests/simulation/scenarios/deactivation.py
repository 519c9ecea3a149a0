"""A server gives itself up, and another takes its place (A2): a deactivation never ends a generation but its own."""

from typing import Any

from licensing.errors import InstallationTaken, Refused

from tests.simulation.cloud import Cloud
from tests.simulation.scenario import Book, Scenario, Server, ServerLaw, activated
from tests.simulation.simulator import must


class Handover(Scenario):
    """The old machine deactivates, again and late; the new one activates as soon as it can."""

    @classmethod
    def prepare(cls, cloud: Cloud) -> Any:
        return activated(cloud)

    def begin(self) -> None:
        self.milano, token = self.props
        self.book = Book()
        self.law = ServerLaw(self.cloud, self.milano, lambda state: state.gen in self.given_up)
        self.law.check()
        self.given_up: set[int] = set()
        self.confirmed: set[int] = set()
        self.old = Server(self, "old", "machine", self.book, token=token, gen=1, seq=0)
        self.new = Server(self, "new", "machine-2", self.book)
        self.actor("old", self.leave)
        self.actor("new", self.come)

    def leave(self) -> None:
        for _ in range(self.pick(3)):
            if self.old.gen not in self.given_up:
                self.old.validate()
                self.pause(60)
        for _ in range(1 + self.pick(2)):
            self.give_up(self.old)
            self.pause((10, 1, 200)[self.pick(3)])

    def give_up(self, server: Server) -> None:
        self.given_up.add(server.gen)
        try:
            server.deactivate()
        except Refused as refusal:
            # Its answer, or that of its last validation, got lost: it is to validate first.
            must(refusal.code == "CLONE_SUSPECTED", f"a deactivation is refused: {refusal.code}")
            server.validate()
        else:
            self.confirmed.add(server.gen)

    def come(self) -> None:
        for _ in range(6):
            try:
                answer = self.new.activate(activation_token=self.cloud.activation_tokens["Milano"])
            except InstallationTaken:
                self.pause((30, 1, 5)[self.pick(3)])
                continue
            must(answer.valid, "it is activated, and refused")
            break
        if self.new.token and self.pick(3) != 1:
            must(self.new.validate().valid, "the new server is refused")
            if self.pick(2):
                self.give_up(self.new)

    def check(self) -> None:
        state = self.law.check()
        must(not (state.held and state.gen in self.confirmed), f"generation {state.gen} is held after it was given up")

    def finish(self) -> None:
        state = self.law.state()
        if self.new.token and self.new.gen not in self.given_up:
            must(state.held and state.gen == self.new.gen, "the new server lost its installation")
            must(self.new.validate().valid, "the new server is refused in the end")
