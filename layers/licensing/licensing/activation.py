"""Activation (A1-A3, A7): by tax id, one-time code and choice, or by activation token."""

from datetime import datetime, timedelta

from aws_lambda_powertools import Logger
from pynamodb.transactions import TransactWrite

from licensing import answers, contract, deployment, identity, mail, signing
from licensing.errors import (
    ActivationTokenInvalid,
    CodeExpired,
    CodeWrong,
    InstallationTaken,
    LicensingError,
    Refused,
    TicketInvalid,
)
from licensing.operations import operation, record_in, record_refusal
from licensing.rules import limits
from licensing.rules.accounts import Account, status
from licensing.rules.entitlements import Standing
from licensing.rules.guards import Facts, judge
from licensing.rules.operations import ANYONE, Origin
from licensing.rules.sequence import Kind, Presented, ServerState, Step, activate, nonce_hash
from licensing.rules.tax_ids import normalize
from licensing.rules.vendor import Vendor
from licensing.store import accounts, activation_requests, servers, standings, tables
from licensing.store import limits as limit_store
from licensing.store.activation_requests import RequestItem
from licensing.store.idempotency import Keep, keep_nothing
from licensing.store.vendor import cached as vendor_settings
from licensing.texts import Say, english

logger = Logger(child=True)

CODE_LIFE = timedelta(minutes=10)
TICKET_LIFE = timedelta(minutes=15)


def request(
    body: contract.ActivationRequest, now: datetime, keep: Keep = keep_nothing
) -> contract.CodeSent | contract.Ticket:
    """Begin an activation by tax id: a code goes to the customer's registered contacts, or, in a window that the
    customer opened, the ticket is given at once.

    Outside a window, all calls made here are the same for a tax id that nobody has; who it belongs to is looked up
    behind the queue. The message goes out before the request is written: dying in between leaves a message without
    request, which is dropped, and never a request whose e-mail is lost.

    Raises TaxIdInvalid, TooManyRequests (three an hour per tax id).
    """
    deployment.require_home_site()
    tax_id = normalize(body.tax_id)
    request_id = identity.new_id("req", now)
    if activation_requests.window_is_open(tax_id, now):
        secret = identity.new_secret()
        account = accounts.read_by_tax_id(tax_id)
        if account is None:
            raise CodeExpired
        ticket = _ticket(f"{request_id}.{secret}", account, now)

        def with_ticket(transaction: TransactWrite) -> None:
            until = now + TICKET_LIFE
            activation_requests.put_ticket_in(transaction, request_id, tax_id, identity.digest(secret), until)
            keep(transaction, ticket)

        limit_store.counting(limits.ACTIVATION_REQUESTS, tax_id, now, with_ticket)
        return ticket

    code = identity.new_code()
    answer = contract.CodeSent(request_id=request_id, expires_in=int(CODE_LIFE.total_seconds()))
    limit_store.check(limits.ACTIVATION_REQUESTS, tax_id, now)
    message = {"request_id": request_id, "tax_id": tax_id, "code": code}
    mail.queue(deployment.activation_code_queue_url(), message)

    def with_code(transaction: TransactWrite) -> None:
        until = now + CODE_LIFE
        activation_requests.put_in(transaction, request_id, tax_id, identity.digest(code, request_id), until)
        keep(transaction, answer)

    limit_store.counting(limits.ACTIVATION_REQUESTS, tax_id, now, with_code)
    return answer


def verify(request_id: str, body: contract.CodeEntry, now: datetime, keep: Keep = keep_nothing) -> contract.Ticket:
    """Exchange a one-time code for a ticket. Each try is counted before the code is compared.

    Raises:
        CodeExpired: no such request, its ten minutes are over, or its five tries, or its ticket was used.
        CodeWrong: not the code; also whatever is tried for a tax id that nobody has.
        TooManyRequests: twenty tries a day per tax id.
    """
    deployment.require_home_site()
    asked, left = tables.unraced(lambda: _count_code_try(request_id, now))
    limit_store.count_try(limits.CODE_TRIES, asked.tax_id, now)
    right = identity.same(body.code, asked.code_hash, request_id)
    account = accounts.read_by_tax_id(asked.tax_id) if right else None
    if account is None:
        raise CodeWrong(tries_left=left)
    secret = identity.new_secret()
    ticket = _ticket(f"{request_id}.{secret}", account, now)

    def fill(transaction: TransactWrite) -> None:
        keep(transaction, ticket)
        activation_requests.set_ticket_in(transaction, request_id, identity.digest(secret), now + TICKET_LIFE)

    try:
        tables.transact(fill)
    except tables.ConditionFailed as error:
        raise CodeExpired from error
    return ticket


def _count_code_try(request_id: str, now: datetime) -> tuple[activation_requests.RequestItem, int]:
    asked = activation_requests.find(request_id)
    left = activation_requests.count_code_try(asked, now) if asked else None
    if asked is None or left is None:
        # Not charged to the tax id: what can't succeed must not use up its owner's day.
        raise CodeExpired
    return asked, left


def _ticket(ticket: str, account: Account, now: datetime) -> contract.Ticket:
    states = servers.get_many(account.installations)
    choices = [
        contract.InstallationChoice(installation_id=key, name=each.name, status=status(each, states.get(key), now))
        for key, each in sorted(account.installations.items(), key=lambda pair: pair[1].name)
    ]
    customer = contract.CustomerName(name=account.customer.name, tax_id=account.customer.tax_id)
    return contract.Ticket(ticket=ticket, customer=customer, installations=choices)


def activate_server(
    body: contract.Activation,
    public_key: dict[str, str] | None,
    now: datetime,
    keep: Keep = keep_nothing,
    by: Origin = ANYONE,
    say: Say = english,
) -> contract.ValidationAnswer:
    """Give an installation to the server that asks: a new generation, at sequence 0, with its first server token.

    One machine per installation: who comes first has it, by a condition on the write. The machine that holds it may activate it
    again; the same token or ticket, nonce and machine repeat their answer until the first validation.

    Raises ActivationTokenInvalid, TicketInvalid, InstallationTaken, and Refused where a guard says no.
    """
    deployment.require_home_site()
    jkt = signing.thumbprint(public_key) if public_key else None
    used_for = f"{body.installation_id} {nonce_hash(body.nonce)} {jkt}"
    report = body.report()
    vendor = vendor_settings(now)
    presented = Presented(0, 0, body.nonce, report, report.fingerprint, public_key)

    def attempt() -> contract.ValidationAnswer:
        customer_id, installation_id, used = _claimed(body, used_for, now)
        standing = standings.get(customer_id, installation_id)
        if standing is None and body.ticket:
            # Somebody else's installation looks like none at all.
            raise TicketInvalid
        state, version = servers.get(installation_id)
        server = by.as_server(installation_id, standing.name if standing else "")

        def refused(error: LicensingError) -> LicensingError:
            told = operation(customer_id, server, "server.activation_refused", now, installation_id, error.code)
            record_refusal(told, now)
            return error

        outcome = activate(state, presented, now)
        if outcome == "taken":
            raise refused(InstallationTaken())
        step: Kind = "suspect" if outcome == "suspect" else "advance"
        verdict = judge(Facts(standing, step, report.agent_version, report.app_version, vendor.policy, now))
        if standing is None or not verdict.valid:
            raise refused(Refused(verdict.code, verdict.detail))
        if outcome == "repeat":
            return _first_answer(standing, vendor, state, body.nonce, jkt, now, say)
        if used or not isinstance(outcome, ServerState):
            # A used ticket repeats its answer; it never begins anything again.
            raise TicketInvalid
        begun, answer = outcome, _first_answer(standing, vendor, outcome, body.nonce, jkt, now, say)
        told = operation(
            customer_id, server, "server.activated", now, installation_id, gen=begun.gen, hostname=report.hostname
        )

        def fill(transaction: TransactWrite) -> None:
            accounts.check_installation_in(transaction, customer_id, installation_id)
            if body.activation_token:
                accounts.check_activation_token_in(transaction, body.activation_token)
            servers.put_in(transaction, installation_id, begun, version, customer_id)
            record_in(transaction, told)
            keep(transaction, answer)
            if body.ticket:
                request_id, _, secret = body.ticket.partition(".")
                activation_requests.use_ticket_in(transaction, request_id, identity.digest(secret), used_for)

        tables.transact(fill)
        logger.info("activated", installation_id=installation_id, gen=begun.gen)
        return answer

    return tables.unraced(attempt)


def _first_answer(
    standing: Standing, vendor: Vendor, state: ServerState, nonce: str, jkt: str | None, now: datetime, say: Say
) -> contract.ValidationAnswer:
    step = Step("advance", state.gen, 0, state.validated_at or now)
    return answers.yes(standing, vendor, state, step, nonce, jkt, now, first=True, say=say)


def _claimed(body: contract.Activation, used_for: str, now: datetime) -> tuple[str, str, bool]:
    """The customer and installation that the caller may activate, and whether its ticket was used for just this already."""
    if body.activation_token is not None:
        found = accounts.find_by_activation_token(body.activation_token)
        if found is None:
            raise ActivationTokenInvalid
        return *found, False
    assert body.ticket is not None  # noqa: S101  the contract has seen to it
    assert body.installation_id is not None  # noqa: S101
    request_id, _, secret = body.ticket.partition(".")
    asked = activation_requests.find(request_id)
    customer_id = (
        accounts.find_by_tax_id(asked.tax_id) if asked and _is_ticket_of(asked, secret, used_for, now) else None
    )
    if asked is None or customer_id is None:
        raise TicketInvalid
    return customer_id, body.installation_id, asked.used_for is not None


def _is_ticket_of(asked: RequestItem, secret: str, used_for: str, now: datetime) -> bool:
    if asked.ticket_hash is None or asked.ticket_until is None or not identity.same(secret, asked.ticket_hash):
        return False
    # Used, it is good for repeating the answer, however late; unused, for its fifteen minutes.
    return asked.used_for == used_for if asked.used_for else asked.ticket_until > now.timestamp()
