"""Idempotency keys (api.md, "Conventions"): the same key answers the same and does its work once."""

from datetime import timedelta
from typing import Any

from licensing import activation, contract
from licensing.errors import IdempotencyKeyReused, LicensingError, TooManyRequests
from licensing.store.activation_requests import RequestItem

from tests.simulation.cloud import TAX_ID, Cloud
from tests.simulation.scenario import Book, Scenario, Server, ServerLaw, activated, posted
from tests.simulation.simulator import must

#: For so long an answer is kept (api.md, "Conventions").
_KEPT = timedelta(hours=24)


class Keys(Scenario):
    """Requests with a key, sent again by an impatient client, from two processes at once, and with another body."""

    @classmethod
    def prepare(cls, cloud: Cloud) -> Any:
        return activated(cloud, "Bergamo")

    def begin(self) -> None:
        self.bergamo, _ = self.props
        self.answers: dict[str, str] = {}
        self.kept_until = self.now + _KEPT
        self.law = ServerLaw(self.cloud, self.bergamo)
        self.law.check()
        self.server = Server(self, "server", "machine", Book())
        self.turns = 1 + self.pick(2)
        for name in ("client", "twin")[: 1 + self.pick(2)]:
            self.actor(name, self.ask_for_codes)
            self.actor(f"{name}-2", self.activate)
        self.actor("mistaken", self.reuse)

    @property
    def remembers(self) -> bool:
        """Whether the first answers must be known yet; later a key may be used for something else."""
        return self.now < self.kept_until

    def kept(self, key: str, path: str, body: Any, call: Any, scope: str) -> None:
        def serve() -> str:
            answer = posted(path, body, key, scope, self.now, call)
            before = self.answers.setdefault(key, answer)
            must(before == answer or not self.remembers, f"{key} is answered differently")
            return answer

        self.ask(f"POST with {key}", serve)

    def ask_for_codes(self) -> None:
        body = contract.ActivationRequest(tax_id=TAX_ID)
        for turn in range(self.turns):
            try:
                self.kept(
                    f"codes-{turn}",
                    "/v1/activation-requests",
                    body,
                    lambda keep: activation.request(body, self.now, keep),
                    TAX_ID,
                )
            except TooManyRequests:
                must(False, "a retry with the same key was counted again")
            self.pause((1, 60)[self.pick(2)])

    def activate(self) -> None:
        key = self.server.public_key
        token = self.cloud.activation_tokens["Bergamo"]
        how = {**self.server.report(), "activation_token": token, "nonce": "n" * 22, "public_key": key}
        body = contract.Activation.model_validate(how)
        for _ in range(1 + self.pick(2)):
            self.kept(
                "activation",
                "/v1/activations",
                body,
                lambda keep: activation.activate_server(body, key, self.now, keep),
                token,
            )
            self.pause((1, 60)[self.pick(2)])

    def reuse(self) -> None:
        """The key of the first request for a code, with another tax id."""
        if not self.pick(2):
            return
        self.pause(30)
        body = contract.ActivationRequest(tax_id="IT12345678903")

        def serve() -> str:
            return posted(
                "/v1/activation-requests",
                body,
                "codes-0",
                TAX_ID,
                self.now,
                lambda keep: activation.request(body, self.now, keep),
            )

        known = "codes-0" in self.answers
        try:
            answer = self.ask("reuse the key", serve)
        except IdempotencyKeyReused:
            return
        except LicensingError as refusal:
            must(not (known and self.remembers), f"a key with another body is answered {refusal.code}")
            return
        must(not (known and self.remembers), f"a key with another body is answered: {answer[:40]}")
        self.simulation.note("the mistaken one was first")

    def check(self) -> None:
        state = self.law.check()
        must(state.gen <= 2, f"one activation began {state.gen - 1} generations")
        asked = [row for row in self.cloud.rows(RequestItem, "REQ#") if row.tax_id == TAX_ID]
        must(len(asked) <= self.turns or not self.remembers, f"{len(asked)} requests for {self.turns} keys")
