"""A second site that lags, and a table restored to an earlier hour: an honest server is accused by neither (api.md, "Sequence")."""

import copy
from typing import Any

from licensing.rules.sequence import ServerState
from licensing.store.servers import ServerItem

from tests.simulation.cloud import Cloud, second_site
from tests.simulation.scenario import Book, Scenario, Server, ServerLaw, activated
from tests.simulation.simulator import must

_STATE = ServerItem.Meta.table_name


class LaggingSite(Scenario):
    """A server calls either site, whose tables hear of each other late, item by item, the last writer winning."""

    @classmethod
    def prepare(cls, cloud: Cloud) -> Any:
        return activated(cloud)

    def begin(self) -> None:
        self.milano, token = self.props
        self.book = Book(sites=True)
        self.law = ServerLaw(self.cloud, self.milano)
        self.server = Server(self, "server", "machine", self.book, token=token, gen=1, seq=0)
        second_site(self.cloud, _STATE)
        #: By site: the state as last seen, when (by a count) it was written, and what was not heard of over there.
        self.seen = [self.law.state(site) for site in (0, 1)]
        self.written = [0, 0]
        self.count = 0
        self.underway: list[tuple[int, int, Any]] = []
        self.days, self.done, self.site = 2 + self.pick(6), 0, 0
        self.actor("server", self.serve)
        self.actor("replication", self.replicate)

    def serve(self) -> None:
        while self.done < self.days:
            if self.pick(3) == 1:
                self.site = 1 - self.site
            answer = self.server.validate(self.site)
            must(answer.valid, f"an honest server is told {answer.code} at site {self.site + 1}")
            self.done += 1
            self.pause((86400, 60, 1)[self.pick(3)])

    def replicate(self) -> None:
        while self.done < self.days or self.underway:
            self.pause((5, 1, 3600, 86400)[self.pick(4)])
            while self.underway and not self.pick(3):
                self.arrive()

    def arrive(self) -> None:
        to, at, item = self.underway.pop(self.pick(len(self.underway)))
        self.simulation.note(f"site {to + 1} hears of write {at}" + ("" if at > self.written[to] else ", an older one"))
        if at > self.written[to]:
            self.written[to] = at
            self.cloud.put_item(_STATE, item, to)
            self.seen[to] = self.law.state(to)

    def check(self) -> None:
        for site in (0, 1):
            state: ServerState = self.law.state(site)
            if state != self.seen[site]:
                self.seen[site] = state
                self.count += 1
                self.written[site] = self.count
                self.underway.append((1 - site, self.count, self.cloud.copied_item(_STATE, self.milano, site)))
            must(state.suspected_at is None, f"site {site + 1} suspects an honest server")
            must(state.held and state.gen == 1, f"site {site + 1} believes it was released")

    def finish(self) -> None:
        while self.underway:
            to, at, item = self.underway.pop(0)
            if at > self.written[to]:
                self.written[to] = at
                self.cloud.put_item(_STATE, item, to)
        must(self.law.state(0) == self.law.state(1), "the sites do not come together")
        for _ in range(3):
            must(self.server.validate().valid, "it can't go on at the home site")


class RestoredTable(Scenario):
    """The State table goes back to an earlier moment, or to nothing, while a server validates."""

    @classmethod
    def prepare(cls, cloud: Cloud) -> Any:
        return activated(cloud)

    def begin(self) -> None:
        self.milano, token = self.props
        # After a restore the cloud may say again what it has forgotten that it said.
        self.book = Book(sites=True)
        self.law = ServerLaw(self.cloud, self.milano)
        self.server = Server(self, "server", "machine", self.book, token=token, gen=1, seq=0)
        self.days, self.done = 2 + self.pick(6), 0
        self.backups = [{}, self.cloud.snapshot(_STATE)]
        self.actor("server", self.serve)
        self.actor("operator", self.restore)

    def serve(self) -> None:
        while self.done < self.days:
            answer = self.server.validate()
            must(answer.valid, f"an honest server is told {answer.code}")
            self.done += 1
            self.backups.append(self.cloud.snapshot(_STATE))
            self.pause((86400, 60, 1)[self.pick(3)])

    def restore(self) -> None:
        for _ in range(self.pick(3)):
            self.pause((60, 3600, 86400, 1)[self.pick(4)])
            place = self.pick(len(self.backups))
            self.simulation.note(f"the table is restored to backup {place}")
            self.cloud.restore(_STATE, copy.deepcopy(self.backups[place]))

    def check(self) -> None:
        must(self.law.state().suspected_at is None, "an honest server is taken for a copy")

    def finish(self) -> None:
        for _ in range(2):
            must(self.server.validate().valid, "it can't go on")
        must(self.law.state().seq == self.server.seq, "the cloud is elsewhere than its server")
