"""Activation by token (A2, A7)."""

from functools import partial
from typing import Any

from licensing import administration
from licensing.errors import ActivationTokenInvalid, InstallationTaken, LicensingError
from licensing.rules.sequence import nonce_hash
from licensing.store import accounts
from licensing.store.accounts import LookupItem

from tests.simulation.cloud import TAX_ID, Cloud
from tests.simulation.scenario import OPERATOR, Book, Scenario, Server, ServerLaw
from tests.simulation.simulator import must


class ActivationRace(Scenario):
    """Two machines want one installation, which the vendor releases and whose token it rotates: one has it at a time."""

    @classmethod
    def prepare(cls, cloud: Cloud) -> Any:
        account = administration.find_account(TAX_ID)
        return account.customer.customer_id, administration.find_installation(account, "Milano")

    def begin(self) -> None:
        self.customer_id, self.milano = self.props
        self.token = self.cloud.activation_tokens["Milano"]
        self.old_tokens: set[str] = set()
        self.ended: set[int] = set()
        #: The nonces of activations, with the token that each carried.
        self.sent: dict[str, str] = {}
        self.book = Book()
        self.law = ServerLaw(self.cloud, self.milano, lambda state: state.gen in self.ended)
        self.servers = [Server(self, f"server-{name}", f"machine-{name}", self.book) for name in "ab"]
        self.pasted = {server.name: self.token for server in self.servers}
        for server in self.servers:
            self.actor(server.name, partial(self.serve, server))
        self.actor("vendor", self.manage)

    def serve(self, server: Server) -> None:
        for _ in range(1 + self.pick(4)):
            if server.token and self.pick(3):
                answer = server.validate()
                must(answer.valid or answer.code == "INSTALLATION_RELEASED", f"{server.name} is told {answer.code}")
                must(answer.valid or self.law.state().gen >= server.gen, f"{server.name} was not released")
            elif self.activate(server):
                must(server.gen <= self.law.state().gen, f"generation {server.gen} was given and is not there")
            self.pause(self.pick(3) * 600)

    def activate(self, server: Server) -> bool:
        if not server.nonce:
            self.pasted[server.name] = self.token
        self.sent[server.pending_nonce()] = self.pasted[server.name]
        try:
            server.activate(activation_token=self.pasted[server.name])
        except ActivationTokenInvalid:
            must(self.pasted[server.name] in self.old_tokens, "a current token is refused")
        except InstallationTaken:
            # A retry that comes after the server's own first validation is refused as well; a new try is not.
            must(self.law.state().gen > 0, "an installation that nobody ever had is taken")
        else:
            return True
        return False

    def manage(self) -> None:
        for _ in range(self.pick(3)):
            self.pause(self.pick(3) * 600)
            if self.pick(2):
                self.ask("release", self.release)
            else:
                self.old_tokens.add(self.token)
                self.ask("rotate the token", self.rotate)

    def release(self) -> bool:
        # What is released is the generation that is there when the write comes, however late the request.
        self.ended.update(range(self.law.state().gen, self.law.state().gen + 20))
        return administration.release_installation(self.customer_id, self.milano, OPERATOR, self.now)

    def rotate(self) -> None:
        token = administration.rotate_activation_token(self.customer_id, self.milano, OPERATOR, self.now)
        self.old_tokens.add(self.token)
        self.token = token

    def check(self) -> None:
        before = self.law.before
        state = self.law.check()
        if state.gen > before.gen:
            token = next(token for nonce, token in self.sent.items() if nonce_hash(nonce) == state.activations[-1])
            current = self.cloud.find(LookupItem, accounts._token_key(token), "TOKEN")
            must(current, f"generation {state.gen} was begun with a token that had been replaced")

    def finish(self) -> None:
        state = self.law.state()
        for server in self.servers:
            if server.token and server.gen == state.gen and state.held:
                must(server.validate().valid, f"{server.name} holds the installation and is refused")
        if not state.held:
            server = Server(self, "server-c", "machine-c", self.book)
            current = administration.find_account(TAX_ID).installations[self.milano].activation_token
            try:
                server.activate(activation_token=str(current))
            except LicensingError as refusal:
                must(False, f"a free installation can't be activated: {refusal.code}")
