"""Activation by tax id (A1-A3): codes by mail, tries counted, tickets used once."""

import time
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from email import message_from_bytes
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from licensing import activation, activation_mail, administration, contract, identity
from licensing.errors import (
    CodeExpired,
    CodeWrong,
    InstallationTaken,
    TemporarilyUnavailable,
    TicketInvalid,
    TooManyRequests,
)
from licensing.mail import NotYet
from licensing.rules.limits import ACTIVATION_REQUESTS, CODE_TRIES, TRIES_PER_CODE
from licensing.store.activation_requests import RequestItem

from tests.simulation.cloud import TAX_ID, Cloud, Mail
from tests.simulation.scenario import Book, Scenario, Server, ServerLaw
from tests.simulation.simulator import Lost, must

#: What makes SQS deliver a message again.
_RETRIED = (NotYet, ClientError, BotoCoreError, TemporarilyUnavailable)


class OneTimeCodes(Scenario):
    """An administrator activates by tax id while somebody guesses codes; messages come late and twice.

    No more requests, tries and tickets than allowed; every written request is mailed, and no other is.
    """

    @classmethod
    def prepare(cls, cloud: Cloud) -> Any:
        account = administration.find_account(TAX_ID)
        return [administration.find_installation(account, name) for name in ("Milano", "Bergamo")]

    def begin(self) -> None:
        self.book = Book()
        self.laws = [ServerLaw(self.cloud, installation) for installation in self.props]
        self.tried: Counter[str] = Counter()
        self.compared: Counter[str] = Counter()
        self.codes: dict[str, str] = {}
        self.ticket = ""
        self.used: dict[str, str] = {}
        self.quiet = 0
        self.servers = [Server(self, f"server-{name}", f"machine-{name}", self.book) for name in "ab"]
        self.actor("administrator", self.activate)
        other = self.pick(3)
        if other == 1:
            self.actor("guesser", self.guess)
        if other == 2:
            self.actor("colleague", self.share)
        self.actor("post office", self.deliver)

    def request(self) -> str:
        """Ask for a code; returns the request's id."""

        def serve() -> contract.CodeSent:
            sent = activation.request(contract.ActivationRequest(tax_id=TAX_ID), self.now)
            assert isinstance(sent, contract.CodeSent)
            return sent

        return self.ask("ask for a code", serve).request_id

    def verify(self, request_id: str, code: str) -> contract.Ticket:
        """Enter a code."""

        def serve() -> contract.Ticket:
            self.tried[request_id] += 1
            try:
                ticket = activation.verify(request_id, contract.CodeEntry(code=code), self.now)
            except CodeWrong:
                self.compare(request_id)
                raise
            self.compare(request_id)
            return ticket

        return self.ask("enter a code", serve)

    def compare(self, request_id: str) -> None:
        self.compared[request_id] += 1
        must(
            self.compared[request_id] <= TRIES_PER_CODE,
            f"{self.compared[request_id]} codes were compared for one request",
        )
        must(sum(self.compared.values()) <= CODE_TRIES.count, "more codes a day were compared than allowed")

    def activate(self) -> None:
        for server, installation in zip(self.servers, self.props, strict=True):
            if self.pick(3) == 2:
                continue
            for _ in range(3):
                try:
                    self.ticket = self.enter()
                    server.activate(ticket=self.ticket, installation_id=installation)
                    break
                except (CodeExpired, TicketInvalid, InstallationTaken):
                    self.pause(60)
                except TooManyRequests as error:
                    self.pause(min(error.retry_after or 60, 3600))
                    break

    def enter(self) -> str:
        request_id = self.request()
        for _ in range(20):
            if request_id in self.codes:
                return self.verify(request_id, self.codes[request_id]).ticket
            self.pause(20)
        raise CodeExpired

    def share(self) -> None:
        """Somebody got hold of the ticket, and is in a hurry."""
        for _ in range(30):
            if self.ticket:
                server = Server(self, "server-c", "machine-c", self.book)
                with suppress(TicketInvalid, InstallationTaken):
                    server.activate(ticket=self.ticket, installation_id=self.props[1])
                break
            self.pause(10)

    def guess(self) -> None:
        try:
            for _ in range(1 + self.pick(2)):
                request_id = self.request()
                for n in range(1 + self.pick(8)):
                    try:
                        self.verify(request_id, f"{n:06d}")
                    except CodeWrong:
                        continue
        except (TooManyRequests, CodeExpired):
            pass

    def deliver(self) -> None:
        """SQS and its function: at least once, in any order, again until it worked."""
        while self.quiet < 60:
            self.pause((10, 1, 60)[self.pick(3)])
            self.quiet += 1
            if self.cloud.queue:
                self.quiet = 0
                mail = self.cloud.queue[self.pick(len(self.cloud.queue))]
                if self.post(mail) and not self.pick(4, 0.2):
                    self.cloud.queue.remove(mail)
            elif all(
                actor.done
                for actor in self.simulation.actors
                if actor.name in ("administrator", "guesser", "colleague")
            ):
                break

    def post(self, mail: Mail) -> bool:
        message = activation_mail.Message.model_validate_json(mail.body)
        before = len(self.cloud.sent_mail)
        try:
            self.simulation.request(
                "mail a code",
                # The queue's own clock is the machine's; what counts is how long the message has been waiting.
                lambda: activation_mail.send(message, time.time() - (self.now.timestamp() - mail.at), self.now),
                allowed=_RETRIED,
            )
        except (*_RETRIED, Lost):
            return False
        finally:
            asked = {row.pk.partition("#")[2]: row for row in self.cloud.rows(RequestItem, "REQ#")}
            # Of another request, too, where a worker that was late mailed meanwhile.
            for sent in self.cloud.sent_mail[before:]:
                subject = message_from_bytes(
                    sent.raw_data.encode() if isinstance(sent.raw_data, str) else sent.raw_data
                )["Subject"]
                code = str(subject).split()[0]
                whose = [name for name, row in asked.items() if identity.same(code, row.code_hash, name)]
                must(whose, "a code was mailed that is no request's")
                self.codes |= dict.fromkeys(whose, code)
        return True

    def check(self) -> None:
        for law in self.laws:
            law.check()
        rows = list(self.cloud.rows(RequestItem, "REQ#"))
        for row in rows:
            recent = [other for other in rows if 0 <= row.code_until - other.code_until < 3600]
            must(len(recent) <= ACTIVATION_REQUESTS.count, f"{len(recent)} codes were asked for within an hour")
            request_id = row.pk.partition("#")[2]
            must(row.tries <= TRIES_PER_CODE, f"{row.tries} tries")
            must(row.tries <= self.tried[request_id], f"{self.tried[request_id]} tries are counted as {row.tries}")
            must(row.tries >= self.compared[request_id], "a code was compared, and its try is not counted")
            if row.used_for:
                before = self.used.setdefault(row.pk, row.used_for)
                must(before == row.used_for, "a ticket was used twice")
        begun = sum(law.before.gen for law in self.laws)
        must(begun <= len(self.used), f"{begun} generations were begun with {len(self.used)} tickets")

    def finish(self) -> None:
        for row in self.cloud.rows(RequestItem, "REQ#"):
            request_id = row.pk.partition("#")[2]
            lately = row.code_until > self.now.timestamp() + timedelta(minutes=9).total_seconds()
            expired = row.code_until < self.now.timestamp() - 1
            waiting = any(request_id in mail.body for mail in self.cloud.queue)
            must(request_id in self.codes or expired or waiting or lately, "a request's mail is lost")


class Crowd(Scenario):
    """Many ask for codes for one tax id at the same moment: three an hour are written, whoever comes first."""

    @classmethod
    def prepare(cls, cloud: Cloud) -> Any:
        administration.find_account(TAX_ID)

    def begin(self) -> None:
        for n in range(3 + self.pick(3)):
            self.actor(f"caller-{n}", self.call)

    def call(self) -> None:
        body = contract.ActivationRequest(tax_id=TAX_ID)
        for _ in range(1 + self.pick(2)):
            try:
                self.ask("ask for a code", lambda: activation.request(body, self.now))
            except TooManyRequests:
                must(
                    len(self.written()) >= ACTIVATION_REQUESTS.count,
                    "turned away, although fewer than allowed had asked",
                )

    def written(self) -> list[RequestItem]:
        return list(self.cloud.rows(RequestItem, "REQ#"))

    def check(self) -> None:
        rows = self.written()
        for row in rows:
            recent = [other for other in rows if 0 <= row.code_until - other.code_until < 3600]
            must(len(recent) <= ACTIVATION_REQUESTS.count, f"{len(recent)} codes were asked for within an hour")
