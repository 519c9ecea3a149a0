"""A shorter retention is announced (A9): who is told, in which language, how often, and when not."""

import json
import time
from datetime import timedelta
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError
from licensing import administration, loading, mail, retention_mail
from licensing.errors import TemporarilyUnavailable
from licensing.retention_mail import Message
from licensing.rules.people import User
from licensing.store import people, tables
from moto.core.botocore_stubber import MockRawResponse

from tests.integration.test_failures import faults
from tests.support.alerts import Mail, mails, work_off
from tests.support.cloud import TAX_ID, VENDOR, Cloud

GIULIA, ELSA = "giulia.ferrario@officinelombarde.example", "elsa.berg@officinelombarde.example"


@pytest.fixture
def customer(cloud: Cloud) -> str:
    """A customer with two administrators, one of them Swedish, and a contract owner; its clock is at noon."""
    cloud.set_time("2026-12-01T12:00:00+01:00")
    customer_id = administration.find_account(TAX_ID).customer.customer_id
    elsa = User("usr_elsa", ELSA, "Elsa Berg", customer_id, ("administrator",), "sv")
    tables.transact(lambda transaction: people.put_in(transaction, elsa, new=True))
    cloud.stack.aws.sent_mail.clear()
    return customer_id


def shorten(cloud: Cloud, customer_id: str, days: int = 30) -> Message:
    """Shorten it; returns the message that was queued."""
    kept = administration.set_log_retention(customer_id, days, VENDOR, cloud.now).shortening
    assert kept
    return Message(customer_id=customer_id, days=kept.days, since=kept.since)


def sent(cloud: Cloud) -> dict[str, Mail]:
    """The e-mails by whom they went to: no address has two."""
    found = {each.to: each for each in mails(cloud)}
    assert len(found) == len(mails(cloud))
    return found


def test_each_administrator_is_told_once_in_their_language(cloud: Cloud, customer: str) -> None:
    message = shorten(cloud, customer)
    work_off(cloud)
    for _ in range(2):  # delivered again
        retention_mail.send(message, time.time(), cloud.now)
    told = sent(cloud)
    assert set(told) == {GIULIA, ELSA}
    name = "Officine Lombarde S.p.A."
    told_in_italian = f"{name}: le operazioni con data anteriore a 8 nov 2026 saranno eliminate in data 8 dic 2026"
    assert told[GIULIA].subject == told_in_italian
    assert told[ELSA].subject == f"{name}: händelser före den 8 nov. 2026 tas bort den 8 dec. 2026"
    for each in told.values():
        for body in (each.text, each.html):
            assert f"/portal/customers/{customer}/log" in body
            assert "365" in body
            assert "30" in body
            assert "JSON Lines" in body


def test_the_days_are_those_of_the_customer(cloud: Cloud, customer: str) -> None:
    cloud.set_time("2026-12-01T23:30:00+00:00")  # the second of December in Rome
    shorten(cloud, customer, 1)
    work_off(cloud)
    assert "8 dec. 2026 tas bort den 9 dec. 2026" in sent(cloud)[ELSA].subject


def test_what_is_longer_or_announced_already_or_taken_back_is_not_told(cloud: Cloud, customer: str) -> None:
    administration.set_log_retention(customer, 700, VENDOR, cloud.now)
    message = shorten(cloud, customer)
    shorten(cloud, customer)
    administration.set_log_retention(customer, 700, VENDOR, cloud.now)
    retention_mail.send(message, 0, cloud.now)
    assert sent(cloud) == {}


def test_a_file_that_shortens_announces_too(cloud: Cloud, customer: str) -> None:
    part = next(each for each in cloud.stack.document["customers"] if each["tax_id"] == TAX_ID)
    for _ in range(2):
        loading.load({"customers": [{**part, "log_retention_days": 90}]}, cloud.now)
    work_off(cloud)
    assert set(sent(cloud)) == {GIULIA, ELSA}


def test_without_administrators_the_contacts_are_told(cloud: Cloud) -> None:
    without = administration.find_account("DE136695976").customer
    shorten(cloud, without.customer_id)
    cloud.stack.aws.sent_mail.clear()
    work_off(cloud)
    assert set(sent(cloud)) == {"jonas.petersen@rheinhafen.example"}


def test_a_message_that_comes_before_its_change_waits_for_it(cloud: Cloud, customer: str) -> None:
    early = Message(customer_id=customer, days=30, since=cloud.now + timedelta(days=7))
    with pytest.raises(mail.NotYet):
        retention_mail.send(early, time.time(), cloud.now)
    retention_mail.send(early, time.time() - 200, cloud.now)  # it never came
    assert sent(cloud) == {}


def test_nothing_is_shortened_that_could_not_be_announced(cloud: Cloud, customer: str) -> None:
    with faults(cloud, "sqs", "timeout_before"), pytest.raises(TemporarilyUnavailable):
        shorten(cloud, customer)
    assert administration.find_account(TAX_ID).customer.log_retention.shortening is None


def test_an_address_that_is_refused_holds_up_nobody_and_is_tried_again(cloud: Cloud, customer: str) -> None:
    message = shorten(cloud, customer)

    def refused(event: str, request: Any) -> AWSResponse | None:
        if event != "before-send.sesv2.SendEmail" or GIULIA.encode() not in request.body:
            return None
        headers: Any = {"x-amzn-errortype": "TooManyRequestsException", "content-type": "application/json"}
        return AWSResponse(request.url, 400, headers, MockRawResponse(json.dumps({"message": "slowly"}).encode()))

    cloud.stack.aws.interceptor = refused
    try:
        with pytest.raises(ClientError):
            retention_mail.send(message, time.time(), cloud.now)
    finally:
        cloud.stack.aws.interceptor = None
    assert set(sent(cloud)) == {ELSA}
    retention_mail.send(message, time.time(), cloud.now)
    assert set(sent(cloud)) == {ELSA, GIULIA}


def test_one_whose_answer_was_lost_waits_ten_minutes_for_another(cloud: Cloud, customer: str) -> None:
    message = shorten(cloud, customer)
    with faults(cloud, "sesv2", "timeout_before"), pytest.raises(Exception, match="onnect timeout"):
        retention_mail.send(message, time.time(), cloud.now)
    with pytest.raises(mail.NotYet):
        retention_mail.send(message, time.time(), cloud.now)
    cloud.stack.clock.advance(timedelta(minutes=10))
    retention_mail.send(message, time.time(), cloud.now)
    assert set(sent(cloud)) == {ELSA, GIULIA}
