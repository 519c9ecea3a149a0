"""The license table, the server's page and the offline pages, in a browser without scripts (B3-B5, B8, B9)."""

import html
import json
import re
import secrets
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from licensing import administration, languages, loading
from licensing.http.pages import _MOST_FIELDS as MOST_FIELDS
from licensing.store import vendor as vendor_settings

from tests.integration.test_installations import AQ, CR, ENDED, FAX, LOCKED, RED, Here, suspect
from tests.support.browser import Browser
from tests.support.cloud import TAX_ID, Cloud, Server
from tests.support.visitor import ENRICO, GIULIA, MARTA, PAOLO


class Table:
    """The license table in somebody's browser, by license code and server."""

    def __init__(self, here: Here, email: str = GIULIA) -> None:
        self.here, self.browser = here, Browser(here.cloud).signed_in(email)
        self.path = f"/portal/customers/{here.customer_id}"
        self.open()

    def open(self) -> None:
        assert self.browser.get(self.path).status_code == 200

    def field(self, code: str, server: str) -> str:
        """The name of a quantity's field."""
        inputs = self.browser.inputs()
        row_id = next(
            each["row_id"]
            for each in self.here.matrix()["rows"]
            if self.here.license(code) in each["license_ids"]
        )  # fmt: skip
        row = next(name for name, value in inputs.items() if name.startswith("row-") and value.split()[0] == row_id)
        column = inputs["columns"].split().index(self.here.server(server))
        return f"q-{row.removeprefix('row-')}-{column}"

    def shows(self, code: str, server: str) -> str:
        return self.browser.inputs()[self.field(code, server)]

    def save(self, **wanted: str) -> int:
        """Send the form as it stands, with some fields changed."""
        fields = {name: value for name, value in self.browser.inputs().items() if re.match("columns|row-|q-", name)}
        return self.browser.post(f"{self.path}/allocations", {**fields, **wanted}).status_code


@pytest.fixture
def here(cloud: Cloud) -> Here:
    return Here(cloud)


@pytest.fixture
def table(here: Here) -> Table:
    return Table(here)


# ── the table ──


def test_the_table_shows_what_there_is_and_nothing_locked(table: Table) -> None:
    text = table.browser.text
    for shown in ("Advanced Queueing", "red.", "40 / 40", "ended", "Milano", "Bergamo", AQ, ENDED):
        assert shown in text
    assert LOCKED not in text
    assert "Interactive Voice Response" not in text
    assert (table.shows(AQ, "Milano"), table.shows(RED, "Milano")) == ("30", "")


def test_care_that_ends_soon_or_has_ended_stands_out(here: Here, table: Table) -> None:
    fax = here.account.licenses[here.license(FAX)]
    assert fax.care_until
    assert fax.last_day is None
    day = languages.language("en").date(fax.care_until)
    places = [table.path, f"{table.path}/servers/{here.server('Milano')}"]
    for moved, said in ((timedelta(), f"ends {day}"), (timedelta(days=1), f"ended {day}")):
        here.cloud.stack.clock.set(datetime.combine(fax.care_until + moved, time(12), UTC))
        for page in places:
            assert f'class="soon">{said}<' in Browser(here.cloud).signed_in(GIULIA).get(page).text


def test_twenty_channels_over_two_servers(table: Table) -> None:
    assert table.save(**{table.field(AQ, "Milano"): "12", table.field(AQ, "Bergamo"): "8"}) == 200
    assert "Saved." in table.browser.text
    assert table.here.assigned(AQ) == {"Milano": 12, "Bergamo": 8}
    assert table.here.assigned(FAX) == {"Milano": 75, "Bergamo": 25}


@pytest.mark.parametrize("text", ["-1", "1.5", "1,5", "1e3", "ten", "٣", "9" * 10, "0x10", "<b>1</b>", "1 000"])
def test_what_is_no_quantity_comes_back_marked_with_all_that_was_entered(table: Table, text: str) -> None:
    wrong, right = table.field(AQ, "Milano"), table.field(FAX, "Milano")
    assert table.save(**{wrong: text, right: "60"}) == 422
    assert table.browser.inputs()[wrong] == text
    assert table.browser.inputs()[right] == "60"
    assert 'aria-invalid="true"' in table.browser.page
    assert "<b>1" not in table.browser.page
    assert table.here.assigned(FAX) == {"Milano": 75, "Bergamo": 25}


def test_more_than_there_is_comes_back_with_the_reason(table: Table) -> None:
    field = table.field(AQ, "Milano")
    assert table.save(**{field: "31"}) == 409
    assert "Advanced Queueing: 41 are more than the 40 that can be assigned." in table.browser.text
    assert table.browser.inputs()[field] == "31"
    assert re.search(r'<tr class="bad">.*?>41</span> / 40<', table.browser.page, re.DOTALL)
    assert f'<a href="{table.path}" aria-current="page">' in table.browser.page
    assert table.save(**{field: "29"}) == 200
    assert table.here.assigned(AQ) == {"Milano": 29, "Bergamo": 10}


def test_redundancy_is_refused_beside_the_main_product(table: Table) -> None:
    assert table.save(**{table.field(RED, "Bergamo"): "5"}) == 409
    assert "Bergamo" in table.browser.text.partition("takes over")[0]
    assert table.here.assigned(RED) == {}


def test_two_people_at_once_see_each_other_s_values_and_nothing_is_lost(here: Here) -> None:
    first, second = Table(here), Table(here, PAOLO)
    here.put(lambda matrix: matrix.update({here.license(CR): {here.server("Milano"): 10}}))
    first.open()
    assert first.save(**{first.field(AQ, "Milano"): "20", first.field(FAX, "Bergamo"): "10"}) == 200
    both, own, theirs = (second.field(code, at) for code, at in ((AQ, "Milano"), (FAX, "Milano"), (FAX, "Bergamo")))
    assert second.save(**{both: "25", own: "70"}) == 409
    assert "was 30, now 20, yours 25" in second.browser.text  # changed by both: a person decides
    assert "was 25, now 10" in second.browser.text  # changed by the other only
    shown = second.browser.inputs()
    assert (shown[both], shown[own], shown[theirs], second.shows(CR, "Milano")) == ("25", "70", "10", "10")
    assert here.assigned(AQ) == {"Milano": 20, "Bergamo": 10}
    assert second.save(**{both: "22"}) == 200
    assert here.assigned(AQ) == {"Milano": 22, "Bergamo": 10}
    assert here.assigned(FAX) == {"Milano": 70, "Bergamo": 10}
    assert here.assigned(CR) == {"Milano": 10}


def test_a_change_that_touches_no_quantity_is_in_nobody_s_way(here: Here, table: Table) -> None:
    here.call("PATCH", here.one(), {"purpose": "test"})
    assert table.save(**{table.field(AQ, "Milano"): "20"}) == 200


def test_what_was_wished_for_a_row_that_is_gone_is_told(here: Here, table: Table) -> None:
    field = table.field(AQ, "Milano")
    document = next(each for each in here.cloud.stack.document["customers"] if each["tax_id"] == TAX_ID)
    license = next(each for each in document["licenses"] if each["code"] == AQ)
    renewed = {**license, "last_day": license["last_day"].replace(year=license["last_day"].year + 1)}
    loading.load({"customers": [{**document, "licenses": [renewed]}]}, here.cloud.now)
    assert table.save(**{field: "20"}) == 409
    assert "Advanced Queueing, Milano: 20" in table.browser.text
    assert here.assigned(AQ) == {"Milano": 30, "Bergamo": 10}


def test_a_server_that_was_disabled_meanwhile_gets_nothing(here: Here, table: Table) -> None:
    field = table.field(RED, "Bergamo")
    here.put(lambda matrix: matrix.update({here.license(AQ): {here.server("Milano"): 40}}))
    here.call("POST", here.one("Bergamo") + "/disable")
    table.open()
    assert field not in table.browser.inputs()
    assert table.save(**{field: "5"}) == 409
    assert "Bergamo is disabled." in table.browser.text


def test_what_a_disabled_server_still_runs_with_is_marked(here: Here, server: Server) -> None:
    here.call("POST", here.one() + "/disable")
    table = Table(here)
    assert "30 freed, running until" in table.browser.text


@pytest.mark.parametrize(
    "fields",
    [
        {"row-0": "x"}, {"row-0": ""}, {"columns": ""}, {"columns": "a b c d"}, {"row-0": "a 1 2 3 4 5 6 7"},
        {"row-0": "a x y"}, {"row-": "a 1", "q--0": "1"}, {"q-0-99": "5"}, {"q-99-0": "5"}, {"row-0": "a " + "9" * 400},
    ],
    ids=str,
)  # fmt: skip
def test_a_form_that_is_none_of_ours_breaks_nothing(table: Table, fields: dict[str, str]) -> None:
    before = table.here.account.licenses
    assert table.save(**fields) in (200, 409, 422)
    assert table.here.account.licenses == before


def test_what_another_customer_has_can_not_be_named(here: Here, table: Table) -> None:
    other = administration.find_account("SE5565678900")
    (umea,) = other.installations
    inputs = table.browser.inputs()
    columns = inputs["columns"].split()
    assert table.save(columns=" ".join([umea, *columns[1:]]), **{table.field(AQ, "Milano"): "1"}) in (200, 409)
    assert administration.find_account("SE5565678900") == other


def test_a_server_is_added_and_given_its_quantities(here: Here, table: Table) -> None:
    assert table.browser.post(f"{table.path}/servers", {"name": "Roma <b>", "purpose": "test"}).status_code == 200
    assert "Roma &lt;b&gt;" in table.browser.page
    assert table.save(**{table.field(FAX, "Roma <b>"): "5", table.field(FAX, "Milano"): "70"}) == 200
    assert here.assigned(FAX) == {"Milano": 70, "Bergamo": 25, "Roma <b>": 5}
    assert table.browser.post(f"{table.path}/servers", {"name": "ROMA <B>"}).status_code == 409
    assert table.browser.inputs()["name"] == "ROMA <B>"
    for name in ("", "x" * 65):
        assert table.browser.post(f"{table.path}/servers", {"name": name}).status_code == 422
    assert len(here.account.installations) == 3


def test_many_servers_are_shown_twelve_at_a_time(here: Here) -> None:
    for n in range(13):
        here.call("POST", f"{here.path}/installations", {"name": f"Server {n:02d}"})
    table = Table(here)
    assert len(table.browser.inputs()["columns"].split()) == 12
    later = re.search(r'href="([^"]*[?]after=[^"]*)">Later', table.browser.page)
    assert later
    table.browser.get(later[1])
    assert len(table.browser.inputs()["columns"].split()) == 3
    assert table.save(**{table.field(FAX, "Server 12"): "0", table.field(AQ, "Server 12"): "0"}) == 200
    assert here.assigned(FAX) == {"Milano": 75, "Bergamo": 25}


def large(cloud: Cloud, rows: int, servers: int, licenses_each: int = 1) -> str:
    names = [f"Stabilimento {n}" for n in range(servers)]
    skus = [each["sku"] for each in cloud.stack.document["products"] if not each.get("redundancy")]
    licenses: list[dict[str, Any]] = [
        {"code": f"BIG-{n:04d}", "sku": skus[n % len(skus)], "quantity": 100 * servers, "care": f"CARE-{n // len(skus)}",
         "last_day": "2029-12-31", "allocations": dict.fromkeys(names, 100)}
        for n in range(rows)
    ]  # fmt: skip
    licenses = [{**each, "code": f"{each['code']}-{n}"} for each in licenses for n in range(licenses_each)]
    customer = {
        "name": "Grande Gruppo S.p.A.", "tax_id": "IT00159560366", "country": "IT", "time_zone": "Europe/Rome",
        "installations": [{"name": name} for name in names], "licenses": licenses,
    }  # fmt: skip
    loading.load({"customers": [customer]}, cloud.now)
    return administration.find_account("IT00159560366").customer.customer_id


def test_forty_rows_by_twelve_servers_stay_small_and_save_at_once(cloud: Cloud) -> None:
    customer_id = large(cloud, 40, 12)
    browser = Browser(cloud).signed_in(MARTA)
    page = browser.get(f"/portal/customers/{customer_id}")
    inputs = browser.inputs()
    quantities = [name for name in inputs if name.startswith("q-")]
    assert len(quantities) == 480
    assert len(page.content) < 80_000  # with style sheet, script and icon less than 100 KB in all
    fields = {name: value for name, value in inputs.items() if re.match("columns|row-", name)}
    changed = fields | dict.fromkeys(quantities, "99")
    assert browser.post(f"/portal/customers/{customer_id}/allocations", changed).status_code == 200
    account = administration.find_account("IT00159560366")
    assert {license.assigned for license in account.licenses.values()} == {99 * 12}


def test_many_rows_are_shown_forty_at_a_time(cloud: Cloud) -> None:
    path = f"/portal/customers/{large(cloud, 81, 13)}"
    browser, seen = Browser(cloud).signed_in(MARTA), list[str]()

    def follow(label: str) -> None:
        [address] = re.findall(rf'href="([^"]*)">{label}<', browser.page)
        browser.get(html.unescape(address))

    browser.get(path)
    for first, last in ((1, 40), (41, 80), (81, 81)):
        assert f"Rows {first} to {last} of 81" in browser.text
        assert len(browser.page.encode()) < 90_000
        assert len(browser.inputs()) < MOST_FIELDS
        seen += [value.split()[0] for name, value in browser.inputs().items() if name.startswith("row-")]
        if last < 81:
            follow("Next rows")
    assert "Next rows" not in browser.text
    assert len(set(seen)) == 81
    follow("Later")  # the same row on the other servers; a save comes back there
    [action] = re.findall(r'action="([^"]*/allocations[^"]*)"', browser.page)
    fields = {name: value for name, value in browser.inputs().items() if re.match("columns|row-|q-", name)}
    assert list(fields) == ["columns", "row-0", "q-0-0"]
    for wanted, status in (("777777", 409), ("7", 200)):
        assert browser.post(html.unescape(action), {**fields, "q-0-0": wanted}).status_code == status
        assert browser.inputs()["q-0-0"] == wanted
        assert "Rows 81 to 81 of 81" in browser.text
    follow("Previous rows")
    assert "Rows 41 to 80 of 81" in browser.text


def test_what_is_more_than_one_write_is_refused_as_a_whole(cloud: Cloud) -> None:
    customer_id = large(cloud, 1, 2, licenses_each=90)
    browser = Browser(cloud).signed_in(MARTA)
    browser.get(f"/portal/customers/{customer_id}")
    inputs = browser.inputs()
    changed = {
        name: "90" if name.startswith("q-") else value
        for name, value in inputs.items()
        if re.match("columns|row-|q-", name)
    }
    assert browser.post(f"/portal/customers/{customer_id}/allocations", changed).status_code == 422
    assert "too many changes" in browser.text
    account = administration.find_account("IT00159560366")
    assert {license.assigned for license in account.licenses.values()} == {200}


# ── a server's page ──


@pytest.fixture
def page(here: Here, server: Server) -> Browser:
    browser = Browser(here.cloud).signed_in(GIULIA)
    assert browser.get(f"/portal/customers/{here.customer_id}/servers/{here.server('Milano')}").status_code == 200
    return browser


def press(here: Here, browser: Browser, button: str, **fields: str) -> int:
    path = f"/portal/customers/{here.customer_id}/servers/{here.server('Milano')}"
    return browser.post(f"{path}/{button}".rstrip("/"), fields).status_code


def test_the_page_says_how_the_server_stands(here: Here, server: Server) -> None:
    server.report |= {"databases": ["main"], "app_version": "Winter 2026", "usage": {"advanced-queueing": 17}}
    server.validate()
    browser = Browser(here.cloud).signed_in(GIULIA)
    browser.get(f"/portal/customers/{here.customer_id}/servers/{here.server('Milano')}")
    for shown in (
        "active",
        "today",
        "online",
        "Main",
        "host-a",
        "Winter 2026",
        "1.0.0",
        "main, since",
        AQ,
        "17",
        "in force",
    ):
        assert shown in browser.text, shown
    assert here.cloud.token_of("Milano") in browser.text


def test_the_buttons_of_a_server(here: Here, page: Browser, server: Server) -> None:
    old = here.cloud.token_of("Milano")
    assert press(here, page, "rotate") == 200
    assert old not in page.text
    assert here.account.installations[here.server("Milano")].activation_token in page.text.split()
    assert press(here, page, "disable") == 200
    assert "disabled" in page.text
    assert server.validate().json()["code"] == "INSTALLATION_DISABLED"
    assert press(here, page, "enable") == 200
    assert press(here, page, "release") == 200
    assert "available" in page.text
    assert press(here, page, "", name="Milano 2", purpose="load") == 200
    assert "Milano 2" in page.text


def test_what_can_not_be_done_to_a_server_is_said_on_its_page(here: Here, page: Browser) -> None:
    assert press(here, page, "", name="bergamo") == 409
    assert press(here, page, "", name="") == 422
    assert press(here, page, "delete") == 409
    assert press(here, page, "explode") == 422
    assert "Milano" in here.call("GET", here.one()).json()["name"]


def test_a_clone_is_decided_about(here: Here, page: Browser, server: Server) -> None:
    suspect(server)
    page.get(f"/portal/customers/{here.customer_id}/servers/{here.server('Milano')}")
    assert "seems to exist more than once" in page.text
    assert press(here, page, "settle") == 200
    assert "seems to exist more than once" not in page.text
    assert server.validate().json()["valid"]


# ── offline ──


def upload(browser: Browser, path: str, parts: dict[str, str | bytes]) -> int:
    """A form with files, as browsers send it (RFC 7578)."""
    boundary = secrets.token_hex(8)
    content = b""
    for name, value in {"form_token": browser.inputs()["form_token"], **parts}.items():
        file = '; filename="request.txt"\r\nContent-Type: text/plain' if name.endswith("_file") else ""
        content += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode()
        content += (value if isinstance(value, bytes) else value.encode()) + b"\r\n"
    response = browser.cloud.http.post(
        browser.cloud.stack.sites[0].url + path,
        content=content + f"--{boundary}--\r\n".encode(),
        headers={
            "cookie": f"__Host-session={browser.cookie}",
            "content-type": f"multipart/form-data; boundary={boundary}",
        },
    )
    browser.shown, browser.page = response, response.text
    return response.status_code


@pytest.fixture
def cave(here: Here) -> str:
    """The path of a server that has perpetual licenses only."""
    key = here.call("POST", f"{here.path}/installations", {"name": "Cave"}).json()["installation_id"]
    here.put(lambda matrix: matrix.update({here.license(FAX): {key: 10}, here.license(CR): {key: 5}}))
    return f"/portal/customers/{here.customer_id}/servers/{key}/offline"


def test_from_a_request_file_to_a_license_file_and_back(here: Here, cave: str) -> None:
    browser, server = Browser(here.cloud).signed_in(GIULIA), Server(here.cloud, machine="cave")
    browser.get(cave)
    assert "no cloud-connected services" in browser.text
    assert CR in browser.text.partition("Get a license file")[0]  # what is given up comes first
    request = server.offline_request()
    assert upload(browser, cave, {"request": "", "request_file": request}) == 200
    assert "The license file is ready" in browser.text
    assert upload(browser, cave + "/file", {"request": browser.inputs()["request"]}) == 200
    assert browser.shown.headers["content-disposition"] == 'attachment; filename="license-cave.json"'
    license = browser.shown.json()["license"]
    # What it holds is held, in the table and on the server's page, until the receipt comes.
    browser.get(cave)
    assert browser.post(cave.removesuffix("/offline") + "/disable", {}).status_code == 409
    assert browser.post(cave.removesuffix("/offline") + "/online", {}).status_code == 409
    assert browser.post(cave.removesuffix("/offline") + "/release", {}).status_code == 409
    table = Table(here)
    assert table.save(**{table.field(FAX, "Cave"): "9"}) == 409
    assert "nobody can call back" in table.browser.text
    browser.get(cave)
    assert upload(browser, cave + "/receipt", {"receipt": "nonsense"}) == 422
    assert browser.post(cave + "/receipt", {"receipt": server.receipt(license)}).status_code == 200
    assert "The receipt is accepted" in browser.text
    table.open()
    assert table.save(**{table.field(FAX, "Cave"): "9"}) == 200


def test_a_server_whose_license_file_has_ended_is_set_online(here: Here, cave: str) -> None:
    loading.load({"vendor": {"name": "Aurora", "offline_days": 1}}, here.cloud.now)
    vendor_settings.forget()
    browser, page = Browser(here.cloud).signed_in(GIULIA), cave.removesuffix("/offline")
    browser.get(cave)
    assert browser.post(cave, {"request": Server(here.cloud, machine="cave").offline_request()}).status_code == 200
    browser.get(page)
    assert "its license file ends" in browser.text
    assert "Set online" not in browser.text
    here.cloud.stack.clock.set(here.cloud.now + timedelta(days=2))
    browser = Browser(here.cloud).signed_in(GIULIA)
    browser.get(page)
    assert "its license file ended" in browser.text
    assert "Set online" in browser.text
    assert browser.post(f"{page}/online").status_code == 200
    assert "This server is online again." in browser.text


def test_a_subscription_keeps_a_server_from_going_offline(here: Here) -> None:
    browser, path = (
        Browser(here.cloud).signed_in(GIULIA),
        f"/portal/customers/{here.customer_id}/servers/{here.server('Milano')}/offline",
    )
    browser.get(path)
    assert "subscriptions and trials must be validated online" in browser.text
    assert AQ in browser.text.partition("Assign these")[2]
    assert browser.post(path, {"request": Server(here.cloud).offline_request()}).status_code == 409


@pytest.mark.parametrize(
    "text",
    [b"", b"\xff\xd8\xff\x00" * 100, b"eyJ", b"x" * 20_000, "ü".encode() * 10, b"\x00"],
    ids=lambda text: repr(text[:6]),
)
def test_a_file_that_is_no_request(here: Here, cave: str, text: bytes) -> None:
    browser = Browser(here.cloud).signed_in(GIULIA)
    browser.get(cave)
    assert upload(browser, cave, {"request": "", "request_file": text}) in (413, 422)
    assert 'role="alert"' in browser.page


def test_a_form_in_pieces_is_no_form(here: Here, cave: str) -> None:
    browser = Browser(here.cloud).signed_in(GIULIA)
    browser.get(cave)
    for kind in ("multipart/form-data", "multipart/form-data; boundary=x", "multipart/form-data; boundary="):
        response = here.cloud.http.post(
            here.cloud.stack.sites[0].url + cave,
            content=b"--y\r\nContent-Disposition: form-data",
            headers={"cookie": f"__Host-session={browser.cookie}", "content-type": kind},
        )
        assert response.status_code == 403
    assert upload(browser, cave, {"form_token": "forged", "request": "x"}) == 403


def test_offline_over_the_api(here: Here, cave: str) -> None:
    path = cave.replace("/portal/", "/v1/").replace("/servers/", "/installations/").removesuffix("/offline")
    server = Server(here.cloud, machine="cave")
    terms = here.call("GET", path + "/offline-activation").json()
    assert [each["license_code"] for each in terms["given_up"]] == [CR]
    assert terms["online_only"] == []
    request = {"request": server.offline_request()}
    answers = [here.call("POST", path + "/offline-activation", request, idempotency_key="a") for _ in range(2)]
    assert [each.status_code for each in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert here.call("POST", path + "/disable").status_code == 409
    license = json.loads(answers[0].json()["content"])["license"]
    receipt = {"receipt": server.receipt(license)}
    assert here.call("POST", path + "/offline-deactivation", receipt).json()["deactivated"]
    assert here.call("POST", path + "/offline-activation", {"request": ""}).status_code == 422
    milano = here.call("POST", here.one() + "/offline-activation", request)
    assert (milano.status_code, milano.json()["code"]) == (409, "OFFLINE_NOT_ALLOWED")


# ── who may ──

POSTS = [
    "/allocations", "/servers", "/servers/{}", "/servers/{}/disable", "/servers/{}/enable", "/servers/{}/release",
    "/servers/{}/settle", "/servers/{}/rotate", "/servers/{}/online", "/servers/{}/delete", "/servers/{}/offline",
    "/servers/{}/offline/file", "/servers/{}/offline/receipt",
]  # fmt: skip


def test_a_contract_owner_sees_no_token_no_field_and_no_button(here: Here) -> None:
    browser = Browser(here.cloud).signed_in(ENRICO)
    browser.get(f"/portal/customers/{here.customer_id}")
    assert not [name for name in browser.inputs() if name.startswith("q-")]
    assert "Save quantities" not in browser.text
    browser.get(f"/portal/customers/{here.customer_id}/servers/{here.server('Milano')}")
    assert here.cloud.token_of("Milano") not in browser.page
    assert "Disable" not in browser.text


def test_a_server_of_another_customer_is_not_found_under_one_s_own(here: Here) -> None:
    (umea,) = administration.find_account("SE5565678900").installations
    browser, before = Browser(here.cloud).signed_in(GIULIA), administration.find_account("SE5565678900")
    browser.get(f"/portal/customers/{here.customer_id}")
    for tail in POSTS[2:]:
        browser.get(f"/portal/customers/{here.customer_id}")
        response = browser.post(f"/portal/customers/{here.customer_id}{tail.format(umea)}", {"name": "Mine"})
        assert response.status_code in (404, 422), tail
    assert administration.find_account("SE5565678900") == before
