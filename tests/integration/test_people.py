"""Who belongs where: invitations, registration, roles, and the operator's first user (B3)."""

import re
import threading

import pytest
from licensing import customers, identity, people, user_pool
from licensing.contract_customers import CustomerChange
from licensing.errors import (
    AlreadyRegistered,
    LastAdministrator,
    LicensingError,
    LinkInvalid,
    NotFound,
    TooManyRequests,
)
from licensing.rules.operations import ANYONE
from licensing.rules.people import VENDOR as VENDOR_ORGANIZATION
from licensing.rules.people import Invitation, User
from licensing.store import accounts, tables
from licensing.store import people as store
from licensing.store.operations import OperationItem
from typer.testing import CliRunner

from infra.operator.cli import app
from tests.integration.test_failures import before_the_write, faults
from tests.support.cloud import TAX_ID, VENDOR, Cloud
from tests.support.visitor import ENRICO, GIULIA, MARTA, PAOLO, RAFAEL, Caller, Visitor, links, signed_in

NEW = "anna.neri@officinelombarde.example"
CHOSEN = "chosen by the invited"


def officine() -> str:
    return accounts.find_by_tax_id(TAX_ID) or ""


def user(email: str) -> User:
    found = store.find_by_email(email)
    assert found
    return found


def invite(cloud: Cloud, email: str = NEW, **changes: object) -> str:
    """The path of the link in the e-mail."""
    made = {"organization": officine(), "roles": ("administrator",), **changes}
    people.invite(Invitation(email, **made), VENDOR, cloud.now)  # type: ignore[arg-type]
    to, _, path = links(cloud)[0]
    assert to == email
    return path


def accept(visitor: Visitor, path: str, name: str = "Anna Neri") -> int:
    visitor.get(path)
    return visitor.post(path, {"name": name, "password": CHOSEN, "password_again": CHOSEN}).status_code


def is_dead(path: str, cloud: Cloud) -> bool:
    """Whether a link leads nowhere, neither by the page nor past it."""
    with pytest.raises(LinkInvalid):
        people.accept(path.rpartition("/")[2], "Anna Neri", CHOSEN, "en", ANYONE, cloud.now)
    return Visitor(cloud).get(path).status_code == 404


def actions() -> list[str]:
    return [item.action for item in OperationItem.scan() if "#op_" in item.sk]


# ── invitations ──


def test_an_invitation_makes_an_account_with_its_roles_and_signs_in(cloud: Cloud) -> None:
    visitor = Visitor(cloud)
    path = invite(cloud, roles=("contract_owner",))
    page = visitor.get(path)
    assert page.status_code == 200
    assert NEW in page.text
    assert accept(visitor, path) == 303
    assert visitor.get("/portal").headers["location"] == f"/portal/customers/{officine()}"
    assert (user(NEW).organization, user(NEW).roles, user(NEW).name) == (officine(), ("contract_owner",), "Anna Neri")
    assert {"person.invited", "person.joined"} <= set(actions())


def test_looking_at_an_invitation_uses_nothing_up(cloud: Cloud) -> None:
    path = invite(cloud)
    for _ in range(3):
        assert Visitor(cloud).get(path).status_code == 200
    assert accept(Visitor(cloud), path) == 303


def test_an_invitation_is_good_once(cloud: Cloud) -> None:
    path = invite(cloud)
    assert accept(Visitor(cloud), path) == 303
    assert Visitor(cloud).get(path).status_code == 404
    visitor = Visitor(cloud)
    visitor.get("/portal/login")
    answer = visitor.post(
        path, {"name": "Eve", "password": "an intruder's word", "password_again": "an intruder's word"}
    )
    assert answer.status_code == 404
    assert Visitor(cloud).sign_in(NEW, CHOSEN).status_code == 303


def test_of_two_who_use_an_invitation_at_once_one_gets_in(cloud: Cloud) -> None:
    secret = invite(cloud).rpartition("/")[2]
    outcomes: list[str] = []

    def run(name: str) -> None:
        try:
            people.accept(secret, name, CHOSEN, "en", ANYONE, cloud.now)
            outcomes.append("in")
        except (LinkInvalid, AlreadyRegistered):
            outcomes.append("out")

    threads = [threading.Thread(target=run, args=(f"Person {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["in", "out", "out", "out"]
    assert [each.email for each in store.members(officine())].count(NEW) == 1


def test_an_invitation_ends_after_two_weeks(cloud: Cloud) -> None:
    path = invite(cloud)
    cloud.http.post(cloud.stack.sites[0].url + "/local/clock", json={"advance_days": 14})
    assert Visitor(cloud).get(path).status_code == 404


def test_a_withdrawn_invitation_is_good_for_nothing(cloud: Cloud) -> None:
    path = invite(cloud)
    visitor = signed_in(cloud, GIULIA)
    [reference] = store.invitations(officine(), cloud.now)
    base = f"/portal/customers/{officine()}"
    answer = visitor.submit(f"{base}/people", f"{base}/invitations/{reference}", do="withdraw")
    assert answer.headers["location"] == f"{base}/people?done=invitation-withdrawn"
    assert Visitor(cloud).get(path).status_code == 404
    assert not store.invitations(officine(), cloud.now)


def test_inviting_again_sends_another_link_and_ends_the_earlier_one(cloud: Cloud) -> None:
    first = invite(cloud)
    visitor = signed_in(cloud, GIULIA)
    [reference] = store.invitations(officine(), cloud.now)
    base = f"/portal/customers/{officine()}"
    visitor.submit(f"{base}/people", f"{base}/invitations/{reference}", do="resend")
    [second, earlier] = [path for to, _, path in links(cloud) if to == NEW]
    assert earlier == first != second
    assert Visitor(cloud).get(first).status_code == 404
    assert accept(Visitor(cloud), second) == 303


@pytest.mark.parametrize("fault", ["timeout_before", "throttle"])
def test_dying_between_user_pool_and_table_is_completed_by_the_same_link(cloud: Cloud, fault: str) -> None:
    path = invite(cloud)
    visitor = Visitor(cloud)
    visitor.get(path)
    fields = {"name": "Anna Neri", "password": CHOSEN, "password_again": CHOSEN}
    with faults(cloud, "dynamodb", fault, "TransactWriteItems") as hit:
        assert visitor.post(path, fields).status_code == 503
    assert hit
    assert Visitor(cloud).sign_in(NEW, CHOSEN).status_code == 403  # the account belongs nowhere yet
    assert accept(visitor, path) == 303
    assert Visitor(cloud).sign_in(NEW, CHOSEN).status_code == 303


def test_an_invitation_that_was_accepted_without_an_answer_has_made_the_account(cloud: Cloud) -> None:
    path = invite(cloud)
    visitor = Visitor(cloud)
    visitor.get(path)
    with faults(cloud, "dynamodb", "timeout_after", "TransactWriteItems", times=1):
        visitor.post(path, {"name": "Anna Neri", "password": CHOSEN, "password_again": CHOSEN})
    assert Visitor(cloud).sign_in(NEW, CHOSEN).status_code == 303


def test_a_weak_password_leaves_the_invitation_open(cloud: Cloud) -> None:
    path = invite(cloud)
    visitor = Visitor(cloud)
    visitor.get(path)
    for password, again in [("short", "short"), (CHOSEN, "something else"), ("", "")]:
        answer = visitor.post(path, {"name": "Anna", "password": password, "password_again": again})
        assert answer.status_code == 422
    assert accept(visitor, path) == 303


def test_an_address_that_has_an_account_elsewhere_is_invited_and_not_taken_over(cloud: Cloud) -> None:
    path = invite(cloud, RAFAEL)
    visitor = Visitor(cloud)
    answer = visitor.get(path)
    assert answer.status_code == 200  # who is known is told to nobody but who has the mail
    assert accept(visitor, path) == 409
    assert user(RAFAEL).organization != officine()
    assert Visitor(cloud).sign_in(RAFAEL).status_code == 303  # and the password is what it was


def test_a_colleague_is_not_invited_again(cloud: Cloud) -> None:
    with pytest.raises(AlreadyRegistered):
        people.invite(Invitation(ENRICO.upper(), officine(), ("administrator",)), VENDOR, cloud.now)


def test_inviting_is_limited_per_organization(cloud: Cloud) -> None:
    def send(number: int, organization: str) -> None:
        people.invite(Invitation(f"n{number}@example.com", organization, ("administrator",)), VENDOR, cloud.now)

    for number in range(50):
        send(number, officine())
    with pytest.raises(TooManyRequests):
        send(50, officine())
    send(50, user(RAFAEL).organization)


@pytest.mark.parametrize(
    "email", ["a@b", "a b@example.com", "a@example.com,b@example.com", "a@example.com\nBcc: x@example.com", "ä@example.com",
              "<a@example.com>", "a" * 120 + "@example.com", '"a"@example.com', "a@exa mple.com", "a@@example.com"],
)  # fmt: skip
def test_what_is_no_plain_address_is_not_invited(cloud: Cloud, email: str) -> None:
    visitor = signed_in(cloud, GIULIA)
    base = f"/portal/customers/{officine()}"
    answer = visitor.submit(f"{base}/people", f"{base}/invitations", email=email, roles="administrator", language="en")
    assert answer.status_code == 422
    assert not store.invitations(officine(), cloud.now)


def test_invitation_secrets_are_kept_as_digests_and_stay_out_of_the_log(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = invite(cloud).rpartition("/")[2]
    accept(Visitor(cloud), f"/portal/invitations/{secret}")
    from licensing.store.tables import Item

    assert all(secret not in item.pk + item.sk for item in Item.scan())
    assert secret not in str([item.to_dynamodb_dict() for item in OperationItem.scan()])
    assert secret not in capsys.readouterr().out


# ── registration ──


def contact(cloud: Cloud, email: str, *customers: str) -> None:
    from dataclasses import replace

    from licensing.rules.vendor import Contact
    from licensing.store.vendor import catalogue

    for customer_id in customers:
        account = accounts.read(customer_id)
        assert account
        contacts = (*account.customer.contacts, Contact("Somebody", email))
        accounts.write(account, replace(account, customer=replace(account.customer, contacts=contacts)), catalogue())


def test_a_registered_contact_registers_as_administrator(cloud: Cloud) -> None:
    contact(cloud, NEW, officine())
    Visitor(cloud).submit("/portal/register", email=NEW)
    [(to, _, path)] = links(cloud)
    assert to == NEW
    assert accept(Visitor(cloud), path) == 303
    assert (user(NEW).organization, user(NEW).roles) == (officine(), ("administrator",))


def test_a_stranger_who_registers_gets_no_mail(cloud: Cloud) -> None:
    Visitor(cloud).submit("/portal/register", email="stranger@example.com")
    assert links(cloud) == []


def test_a_contact_who_has_an_account_is_told_so_by_mail_only(cloud: Cloud) -> None:
    Visitor(cloud).submit("/portal/register", email=GIULIA)
    [(to, _, path)] = links(cloud)
    assert (to, path) == (GIULIA, "/portal/login")


def test_a_contact_of_a_deleted_customer_is_a_stranger(cloud: Cloud) -> None:
    contact(cloud, NEW, officine())
    customers.delete(user(MARTA), officine(), VENDOR, cloud.now)
    Visitor(cloud).submit("/portal/register", email=NEW)
    assert links(cloud) == []


def test_a_registration_that_is_delivered_twice_makes_one_invitation(cloud: Cloud) -> None:
    contact(cloud, NEW, officine())
    message = people.Message(kind="registration", email=NEW, secret="the same")
    for _ in range(2):
        people.send_registration(message, cloud.now.timestamp(), cloud.now)
    assert len({path for _, _, path in links(cloud)}) == 1
    assert len(store.invitations(officine(), cloud.now)) == 1


def test_of_several_registrations_the_last_link_is_good(cloud: Cloud) -> None:
    contact(cloud, NEW, officine())
    for _ in range(2):
        Visitor(cloud).submit("/portal/register", email=NEW)
        links(cloud)
    [(_, _, second), (_, _, first)] = links(cloud)
    assert is_dead(first, cloud)
    assert accept(Visitor(cloud), second) == 303


def test_a_registration_is_good_as_long_as_the_address_is_a_contact(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    contact(cloud, NEW, officine())
    Visitor(cloud).submit("/portal/register", email=NEW)
    [(_, _, path)] = links(cloud)
    monkeypatch.setattr(customers, "withdraw_invitations", lambda *_: None)  # as if that died
    customers.set_contacts(user(MARTA), officine(), [], VENDOR, cloud.now)
    assert is_dead(path, cloud)
    assert store.find_by_email(NEW) is None


def test_a_contact_who_is_taken_out_has_no_open_invitation_any_more(cloud: Cloud) -> None:
    contact(cloud, NEW, officine())
    path = invite(cloud)
    customers.set_contacts(user(MARTA), officine(), [], VENDOR, cloud.now)
    assert not store.invitations(officine(), cloud.now)
    assert is_dead(path, cloud)


def leave_open(cloud: Cloud, email: str = NEW) -> str:
    """A second open invitation of an address, as one is left when what withdraws the earlier ones dies."""
    secret = identity.new_secret()
    invitation, until = Invitation(email, officine(), ("administrator",)), cloud.now + people.INVITATION_LIFE
    tables.transact(lambda transaction: store.put_invitation_in(transaction, secret, invitation, until) and None)
    return f"/portal/invitations/{secret}"


def test_who_has_joined_has_no_open_invitation_any_more(cloud: Cloud) -> None:
    path = invite(cloud)
    leave_open(cloud)
    assert accept(Visitor(cloud), path) == 303
    assert not store.invitations(officine(), cloud.now)


def test_who_is_removed_does_not_come_back_by_another_invitation(cloud: Cloud) -> None:
    path = leave_open(cloud, ENRICO)
    people.remove(officine(), user(ENRICO).user_id, VENDOR, cloud.now)
    assert is_dead(path, cloud)
    assert store.find_by_email(ENRICO) is None


# ── what a reseller may ──


def by_reseller(cloud: Cloud, email: str = NEW) -> str:
    base = f"/portal/customers/{officine()}"
    sent = {"email": email, "roles": "administrator", "language": "en"}
    assert signed_in(cloud, PAOLO).submit(f"{base}/people", f"{base}/invitations", **sent).status_code == 303
    return links(cloud)[0][2]


def test_a_reseller_makes_nobody_an_administrator_where_there_is_one(cloud: Cloud) -> None:
    assert accept(Visitor(cloud), by_reseller(cloud)) == 303
    assert user(NEW).roles == ("contract_owner",)


def test_a_reseller_makes_no_administrator_by_the_api_either(cloud: Cloud) -> None:
    body = {"email": NEW, "roles": ["administrator"]}
    assert Caller(cloud, PAOLO).call("POST", f"/v1/customers/{officine()}/invitations", body).status_code == 202
    [(invitation, _)] = store.invitations(officine(), cloud.now).values()
    assert (invitation.roles, invitation.invited_from) == (("contract_owner",), user(PAOLO).organization)


def test_a_reseller_makes_a_registered_contact_administrator(cloud: Cloud) -> None:
    contact(cloud, NEW, officine())
    assert accept(Visitor(cloud), by_reseller(cloud)) == 303
    assert user(NEW).roles == ("administrator",)


def test_a_reseller_makes_the_first_administrator_and_no_second_by_an_invitation_from_before(cloud: Cloud) -> None:
    for email in (GIULIA, ENRICO):
        found = user(email)
        tables.transact(lambda transaction, found=found: store.delete_in(transaction, found))  # type: ignore[misc]
    first, second = by_reseller(cloud, "first@example.com"), by_reseller(cloud, "second@example.com")
    assert accept(Visitor(cloud), first) == accept(Visitor(cloud), second) == 303
    assert user("first@example.com").roles == ("administrator",)
    assert user("second@example.com").roles == ("contract_owner",)


def test_a_reseller_s_invitation_ends_when_it_loses_the_customer(cloud: Cloud) -> None:
    path = by_reseller(cloud)
    customers.change(user(MARTA), officine(), CustomerChange(reseller_ids=[]), VENDOR, cloud.now)
    assert is_dead(path, cloud)
    assert store.find_by_email(NEW) is None


def test_a_reseller_that_loses_the_customer_while_its_invitation_is_accepted_lets_nobody_in(cloud: Cloud) -> None:
    path = by_reseller(cloud)

    def lose() -> None:
        customers.change(user(MARTA), officine(), CustomerChange(reseller_ids=[]), VENDOR, cloud.now)

    with before_the_write(cloud, "TransactWriteItems", lose), pytest.raises(LinkInvalid):
        people.accept(path.rpartition("/")[2], "Anna Neri", CHOSEN, "en", ANYONE, cloud.now)
    assert store.find_by_email(NEW) is None


# ── roles ──


def test_members_see_who_has_which_role(cloud: Cloud) -> None:
    for email in (GIULIA, ENRICO):
        page = signed_in(cloud, email).get(f"/portal/customers/{officine()}/people").text
        assert GIULIA in page
        assert ENRICO in page
        assert "contract owner" in page.lower()


def test_a_changed_role_counts_at_the_next_request(cloud: Cloud) -> None:
    visitor = signed_in(cloud, ENRICO)
    base = f"/portal/customers/{officine()}"
    assert visitor.post(f"{base}/activation-window", {"minutes": "60"}).status_code == 403
    giulia = signed_in(cloud, GIULIA)
    giulia.submit(f"{base}/people", f"{base}/people/{user(ENRICO).user_id}", do="roles", roles="administrator")
    assert visitor.post(f"{base}/activation-window", {"minutes": "60"}).status_code == 303


def test_the_last_administrator_stays_one(cloud: Cloud) -> None:
    visitor = signed_in(cloud, GIULIA)
    base, giulia = f"/portal/customers/{officine()}", user(GIULIA).user_id
    for fields in ({"do": "roles", "roles": "contract_owner"}, {"do": "remove"}):
        answer = visitor.post(f"{base}/people/{giulia}", fields)
        assert answer.status_code == 409
        assert "only administrator" in answer.text
    assert user(GIULIA).roles == ("administrator",)


@pytest.mark.parametrize("how", ["demoted", "removed"])
def test_two_administrators_who_end_each_other_at_once_leave_one(cloud: Cloud, how: str) -> None:
    for _ in range(5):
        cloud.stack.reset()
        organization = officine()
        people.change_roles(organization, user(ENRICO).user_id, ("administrator",), VENDOR, cloud.now)
        barrier, refused = threading.Barrier(2), []

        def end(user_id: str, organization: str = organization, barrier: threading.Barrier = barrier,
                refused: list[str] = refused) -> None:  # fmt: skip
            barrier.wait()
            try:
                if how == "removed":
                    people.remove(organization, user_id, VENDOR, cloud.now)
                else:
                    people.change_roles(organization, user_id, ("contract_owner",), VENDOR, cloud.now)
            except LicensingError as error:
                refused.append(error.code)

        threads = [threading.Thread(target=end, args=(user(each).user_id,)) for each in (GIULIA, ENRICO)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert refused == ["LAST_ADMINISTRATOR"]
        assert ["administrator" in each.roles for each in store.members(organization)].count(True) == 1


def test_whoever_reads_before_another_s_write_does_not_end_the_last_administrator(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    organization = officine()
    people.change_roles(organization, user(ENRICO).user_id, ("administrator",), VENDOR, cloud.now)
    members, interfered = store.members, []

    def read_then_somebody_else_writes(organization: str) -> list[User]:
        found = members(organization)
        if not interfered:
            interfered.append(True)
            people.remove(organization, user(ENRICO).user_id, VENDOR, cloud.now)
        return found

    monkeypatch.setattr(store, "members", read_then_somebody_else_writes)
    with pytest.raises(LastAdministrator):
        people.remove(organization, user(GIULIA).user_id, VENDOR, cloud.now)
    assert user(GIULIA).roles == ("administrator",)


def test_who_is_removed_is_out_at_once(cloud: Cloud) -> None:
    visitor = signed_in(cloud, ENRICO)
    people.remove(officine(), user(ENRICO).user_id, VENDOR, cloud.now)
    assert visitor.get("/portal/me").status_code == 303
    assert Visitor(cloud).sign_in(ENRICO).status_code == 403
    assert store.find_by_email(ENRICO) is None
    with pytest.raises(NotFound):
        people.remove(officine(), "4d2a0b1c", VENDOR, cloud.now)


def test_who_was_removed_can_be_invited_elsewhere(cloud: Cloud) -> None:
    people.remove(officine(), user(ENRICO).user_id, VENDOR, cloud.now)
    path = invite(cloud, ENRICO, organization=user(RAFAEL).organization)
    assert accept(Visitor(cloud), path) == 303
    assert user(ENRICO).organization == user(RAFAEL).organization


def test_a_removal_that_dies_before_the_user_pool_leaves_an_account_that_belongs_nowhere(cloud: Cloud) -> None:
    with faults(cloud, "cognito-identity-provider", "throttle"), pytest.raises(LicensingError):
        people.remove(officine(), user(ENRICO).user_id, VENDOR, cloud.now)
    assert Visitor(cloud).sign_in(ENRICO).status_code == 403
    path = invite(cloud, ENRICO)
    assert accept(Visitor(cloud), path) == 303


def test_who_is_removed_and_joins_again_at_once_keeps_the_new_account(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    transact = tables.transact

    def then_joins_again(fill: tables.Also) -> None:
        transact(fill)
        if store.find_by_email(ENRICO) is None:
            monkeypatch.setattr(tables, "transact", transact)
            assert accept(Visitor(cloud), invite(cloud, ENRICO), "Enrico Galli") == 303

    monkeypatch.setattr(tables, "transact", then_joins_again)
    people.remove(officine(), user(ENRICO).user_id, VENDOR, cloud.now)
    assert Visitor(cloud).sign_in(ENRICO, CHOSEN).status_code == 303


# ── teams ──


def test_a_reseller_s_people_invite_colleagues_and_nobody_locks_themselves_out(cloud: Cloud) -> None:
    visitor = signed_in(cloud, PAOLO)
    reseller = user(PAOLO).organization
    base = f"/portal/teams/{reseller}"
    assert (
        visitor.submit(base, f"{base}/invitations", email="socio@telefoniapadana.example", language="it").status_code
        == 303
    )
    assert accept(Visitor(cloud), links(cloud)[0][2], "Socio") == 303
    assert user("socio@telefoniapadana.example").kind == "reseller"
    visitor.get(base)
    visitor.post(f"{base}/people/{user(PAOLO).user_id}", {"do": "remove"})
    assert store.find_by_email(PAOLO)
    visitor.post(f"{base}/people/{user('socio@telefoniapadana.example').user_id}", {"do": "remove"})
    assert store.find_by_email("socio@telefoniapadana.example") is None


# ── the operator ──


@pytest.fixture(autouse=True)
def _operator_s_environment(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("ISSUER", "DEPLOYMENT"):  # put back afterwards
        monkeypatch.setenv(name, cloud.stack.vendor_profile["issuer"])


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result.output


def test_the_operator_lets_the_vendor_s_first_user_in(cloud: Cloud) -> None:
    said = run("users", "invite", "--vendor", "first@aurora.example")
    path = re.search(r"https?://[^/\s]+(/portal/invitations/\w+)", said)
    assert path
    visitor = Visitor(cloud)
    assert accept(visitor, path[1], "First") == 303
    assert user("first@aurora.example").organization == VENDOR_ORGANIZATION
    assert "first@aurora.example" in run("users", "list", "--vendor")


def test_the_operator_lists_and_removes(cloud: Cloud) -> None:
    said = run("users", "list", TAX_ID)
    assert GIULIA in said
    assert "contract_owner" in said
    run("users", "remove", ENRICO)
    assert store.find_by_email(ENRICO) is None
    assert "only administrator" in run("users", "remove", GIULIA, code=1)
    assert "nobody" in run("users", "remove", "nobody@example.com", code=1).lower()


def test_the_operator_makes_a_program_known(cloud: Cloud) -> None:
    run("users", "add-client", "client-1", "Another ERP")
    made = store.get("client-1")
    assert made
    assert (made.name, made.organization, made.email) == ("Another ERP", VENDOR_ORGANIZATION, "")
    assert "already" in run("users", "add-client", "client-1", "Twice", code=1)


def test_deleting_an_account_that_is_not_there_is_no_trouble(cloud: Cloud) -> None:
    user_pool.delete_user("nobody@example.com")
