"""Every route as every role, for one's own and for somebody else's object: docs/access.md is what the code does."""

import json
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import jwt
import pytest
from licensing import activation_keys, administration, companies, identity, people, webhooks
from licensing.activation_keys import Terms
from licensing.contract_alerts import NewWebhook
from licensing.http.addresses import page_of
from licensing.rules import seats as seat_rules
from licensing.rules.access import ALLOWED, places
from licensing.rules.activation_keys import key_pool_id
from licensing.rules.people import Invitation, User
from licensing.store import accounts, orders
from licensing.store import people as store
from licensing.store import seats as seat_store
from licensing.store.tables import Item

from functions.serve_portal.handler import portal
from infra.local.gateway import Gateway
from infra.local.stack import PRIMARY
from infra.openapi import DOCUMENT as OPENAPI
from tests.support.cloud import TAX_ID, VENDOR, Cloud, Server, new_nonce, problem
from tests.support.seats import Pool, Station, concurrent_pool
from tests.support.visitor import CAMILA, ENRICO, GIULIA, MARTA, PAOLO, RAFAEL, Caller, Visitor

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "access.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(\w+ /\S+)` \| ([\w. ]+) \| (.+) \|$", DOCUMENT, re.MULTILINE)
#: From a route to its action.
ACTIONS: dict[str, str] = {route: action for route, action, _ in ROWS}
#: The routes that no user's token opens, and what does.
OTHERS: dict[str, str] = dict(re.findall(r"^\| `(\w+ /\S+)` \| ([\w ]+) \|$", DOCUMENT, re.MULTILINE))
WITHOUT_SIGN_IN = set(re.findall(r"`(\w+ /portal\S*)`", DOCUMENT.partition("Without signing in:")[2]))

#: Each stands where its name says; the last two are somebody else's.
CALLERS = [MARTA, PAOLO, GIULIA, ENRICO, CAMILA, RAFAEL]
STRANGERS = {CAMILA, RAFAEL}
TAX_ID_OF_RAFAEL = "BR12345678000195"
#: Another company of the group.
SECOND = "BR11222333000181"

_INVITE = {"email": "anna@officinelombarde.example", "roles": ["contract_owner"]}
_CUSTOMER = {"name": "Acme", "tax_id": "FR40303265045", "country": "FR", "time_zone": "Europe/Paris"}
_RESELLER = {"name": "Acme", "tax_id": "FR40303265045", "country": "FR"}
_DETAILS = {"name": "Officine", "country": "IT", "time_zone": "Europe/Rome", "language": "it"}
_NO_CHANGE: dict[str, str] = {}
_KEY = {
    "companies": [{"tax_id": TAX_ID, "name": "Officine"}],
    "concurrent": {"erp": 6},
    "first_day": "2026-11-22",
    "last_day": "2099-12-31",
}

#: What a receipt is about; nobody verifies it before that.
A_LICENSE = jwt.encode({"sub": "ins_1", "gen": 1, "jti": "ins_1.1.0"}, None, "none")

#: What each route that changes something takes; made from what the world's paths name where it is a function.
BODIES: dict[str, Any] = {
    "POST /v1/customers": _CUSTOMER,
    "PATCH /v1/customers/{customer_id}": {"name": "Officine"},
    "PUT /v1/customers/{customer_id}/contacts": {"contacts": []},
    "PUT /v1/customers/{customer_id}/roles/{user_id}": {"roles": ["administrator"]},
    "POST /v1/customers/{customer_id}/invitations": _INVITE,
    "PUT /v1/customers/{customer_id}/activation-window": {"minutes": 60},
    "PUT /v1/customers/{customer_id}/log-retention": {"days": 400},
    "PUT /v1/customers/{customer_id}/allocations": {"version": 0, "allocations": {}},
    "POST /v1/customers/{customer_id}/installations": {"name": "Roma"},
    "PATCH /v1/customers/{customer_id}/installations/{installation_id}": {"purpose": "test"},
    "POST /v1/customers/{customer_id}/installations/{installation_id}/clone-decision": {"decision": "settle"},
    "POST /v1/customers/{customer_id}/installations/{installation_id}/offline-activation": lambda values: {
        "request": Server(values["cloud"], machine="c").offline_request()
    },
    "POST /v1/customers/{customer_id}/installations/{installation_id}/offline-deactivation": lambda values: {
        "receipt": Server(values["cloud"], machine="c").receipt(A_LICENSE)
    },
    "POST /v1/resellers": _RESELLER,
    "PATCH /v1/resellers/{reseller_id}": {"may_order": True},
    "PUT /v1/vendor-settings": {
        "name": "Aurora", "contact": {}, "portal_url": "https://licensing.aurora.example", "releases": [],
        "agent": {}, "validation_window": {}, "notice_days": 30,
    },
    "POST /v1/orders": {
        "order_number": "N-1", "reseller": "IT12345670017", "customer": {"tax_id": TAX_ID},
        "lines": [{"sku": "AQ-SUB-10", "quantity": 1, "years": 1}],
    },
    "POST /v1/webhooks": {"url": "https://crm.aurora.example/licensing"},
    "PUT /v1/alert-preferences": {"unsubscribed": ["silence"]},
    "POST /v1/orders/{order_id}/resend": {},
    "POST /v1/orders/{order_id}/unlock": {"order_number": "TP-2026-1187"},
    "POST /v1/orders/{order_id}/forward": {"email": "anna@example.com"},
    "POST /portal/orders/{order_id}/forward": {"email": "anna@example.com"},
    "POST /v1/keys": lambda values: _KEY | {"customer_id": values["customer_id"]},
    "POST /v1/keys/preview": lambda values: {"customer_id": values["customer_id"], "text": values["text"]},
    "POST /v1/keys/import": lambda values: {"preview_id": values["preview_id"], "confirm": True},
    "POST /v1/keys/renewal-requests": lambda values: {"customer_id": values["customer_id"]},
    "POST /v1/customers/{customer_id}/companies": {"tax_id": SECOND, "name": "Officine Brasil"},
    "PATCH /v1/customers/{customer_id}/companies/{tax_id}": {"name": "Officine"},
    "POST /portal/customers/{customer_id}/keys/preview": lambda values: {"key": values["text"]},
    "POST /portal/customers/{customer_id}/keys/import": lambda values: {
        "preview_id": values["preview_id"], "reset_peak": "no",
    },
    "POST /portal/customers/{customer_id}/keys/companies": {
        "do": "create", "tax_id": SECOND, "name": "Officine Brasil",
    },
    "POST /portal/customers/{customer_id}/keys/new": {
        "companies": f"{TAX_ID} Officine", "concurrent": "erp 6", "days": "365", "lease_seconds": "600", "borrow_days": "30",
    },
    "PUT /v1/pools/{pool_id}/lease-time": {"lease_seconds": 120},
    "POST /portal/customers/{customer_id}/pools/{pool_id}/lease-time": {"lease_seconds": "120"},
    "POST /portal/customers/{customer_id}/pools/{pool_id}/release": lambda values: {"seat_id": values["seat_id"]},
    "POST /portal/webhooks": {"url": "https://crm.aurora.example/licensing"},
    "POST /portal/webhooks/{webhook_id}": {"do": "rotate"},
    "POST /portal/me": {"name": "Somebody"},
    "POST /portal/customers/new": _CUSTOMER | {"language": "en"},
    "POST /portal/customers/{customer_id}/servers": {"name": "Roma"},
    "POST /portal/customers/{customer_id}/servers/{installation_id}": {"name": "Sede"},
    "POST /portal/customers/{customer_id}/details": _DETAILS,
    "POST /portal/customers/{customer_id}/log-retention": {"days": "400"},
    "POST /portal/customers/{customer_id}/requests/{reseller_id}": {"answer": "grant"},
    "POST /portal/customers/{customer_id}/delete": {"sure": "yes"},
    "POST /portal/customers/{customer_id}/people/{user_id}": {"do": "roles", "roles": "administrator"},
    "POST /portal/customers/{customer_id}/invitations": {"email": "anna@example.com", "roles": "administrator"},
    "POST /portal/customers/{customer_id}/invitations/{reference}": {"do": "withdraw"},
    "POST /portal/customers/{customer_id}/activation-window": {"minutes": "60"},
    "POST /portal/resellers/new": _RESELLER | {"language": "en"},
    "POST /portal/resellers/{reseller_id}": {"name": "Nuovo", "country": "IT", "language": "it"},
    "POST /portal/teams/{organization}/invitations": {"email": "anna@example.com"},
    "POST /portal/teams/{organization}/invitations/{reference}": {"do": "withdraw"},
}  # fmt: skip

#: What a route asks for in its query.
QUERIES = {"DELETE /v1/customers/{customer_id}/personal-data": "?user_id=somebody-long-gone"}

#: What takes more than a body to succeed: a quantity that is free, a server that is not in use, a signed file.
_SERVER = "/portal/customers/{customer_id}/servers/{installation_id}"
_INSTALLATION = "/v1/customers/{customer_id}/installations/{installation_id}"
NEEDING_MORE = {
    "POST /v1/keys/renewal-requests", "POST /portal/customers/{customer_id}/keys/renewal",  # too early
    "PUT /v1/pools/{pool_id}/lease-time", "POST /portal/customers/{customer_id}/pools/{pool_id}/lease-time",  # a key's
    "POST /v1/orders", "POST /portal/orders/upload",
    "POST /portal/orders/{order_id}/forward",
    "POST /v1/orders/{order_id}/forward",
    "PUT /v1/customers/{customer_id}/allocations", f"DELETE {_INSTALLATION}", f"POST {_INSTALLATION}/offline-activation",
    f"POST {_INSTALLATION}/offline-deactivation", f"POST {_SERVER}/delete", f"POST {_SERVER}/offline",
    f"POST {_SERVER}/offline/file", f"POST {_SERVER}/offline/receipt",
}  # fmt: skip


def portal_routes() -> set[str]:
    found: list[Any] = [*portal._static_routes, *portal._dynamic_routes]
    return {f"{route.method} {route.path.replace('<', '{').replace('>', '}')}" for route in found}


def user_routes(cloud: Cloud) -> set[str]:
    return {route.key for route in Gateway(cloud.stack.functions, PRIMARY).routes if route.for_users}


def other_routes(cloud: Cloud) -> set[str]:
    """Those that the gateway lets everybody through to, but for the portal's, which looks after itself."""
    routes = Gateway(cloud.stack.functions, PRIMARY).routes
    return {route.key for route in routes if not route.for_users and not route.path.startswith("/portal")}


# ── the document ──


def test_every_route_of_users_is_in_the_document_and_has_what_this_test_sends(cloud: Cloud) -> None:
    documented = set(ACTIONS) | WITHOUT_SIGN_IN
    assert portal_routes() | user_routes(cloud) == documented
    assert not WITHOUT_SIGN_IN & set(ACTIONS)


def test_every_other_route_is_in_the_document_with_what_opens_it(cloud: Cloud) -> None:
    """A route for users that the template forgot to put behind the authorizer is found here, too."""
    assert other_routes(cloud) == set(OTHERS)
    assert set(OTHERS.values()) == {"nothing", "tax id", "secret", "server token", "seat token"}


def test_the_openapi_document_says_what_opens_each_route(cloud: Cloud) -> None:
    paths = json.loads(OPENAPI.read_text(encoding="utf-8"))["paths"]
    described = {f"{method.upper()} {path}": each for path, of in paths.items() for method, each in of.items()}
    for route, operation in described.items():
        schemes = {name for way in operation.get("security", ()) for name in way}
        if route in ACTIONS:
            assert schemes == {"user_token"}, route
        else:
            said = {"server token": {"server_token"}, "seat token": {"seat_token"}}.get(OTHERS[route], set())
            assert said <= schemes, route
            assert "user_token" not in schemes, route
            assert bool(schemes) == bool(said), route


def test_the_document_says_what_the_code_does() -> None:
    for route, action, ticks in ROWS:
        said = [each.strip() == "✓" for each in ticks.split("|")]
        everybody = ("vendor", "reseller", "administrator", "contract_owner")
        meant = [action == "signed in" or place in ALLOWED[action] for place in everybody]  # type: ignore[index]
        assert said == meant, route


def test_every_action_is_somebody_s() -> None:
    assert all(ALLOWED.values())


def test_every_form_is_sent_from_a_page() -> None:
    """Who comes to its address by reload, or after signing in again, is led there."""
    routes = {(method, path) for method, path in (route.split() for route in portal_routes())}
    assert [path for method, path in sorted(routes) if method == "POST" and ("GET", page_of(path)) not in routes] == []
    assert [path for method, path in sorted(routes) if method == "GET" and page_of(path) != path] == []


# ── the matrix ──


@dataclass
class World:
    """The demo data, with one of each thing that a path can name."""

    cloud: Cloud
    values: dict[str, str]

    def path(self, route: str) -> str:
        return route.partition(" ")[2].format_map(self.values)


def user(email: str) -> User:
    found = store.find_by_email(email)
    assert found
    return found


def world(cloud: Cloud, route: str) -> World:
    customer_id, reseller_id = accounts.find_by_tax_id(TAX_ID) or "", user(PAOLO).organization
    organization = reseller_id if "/teams/" in route else customer_id
    people.invite_by_hand(Invitation("open@example.com", organization, ("administrator",)), VENDOR, cloud.now)
    [reference] = store.invitations(organization, cloud.now)
    from licensing.store import tables

    tables.transact(lambda transaction: store.put_customer_request_in(transaction, customer_id, reseller_id))
    colleague = User("colleague", "colleague@example.com", "Colleague", reseller_id)
    tables.transact(lambda transaction: store.put_in(transaction, colleague, new=True))
    webhook = webhooks.create(user(MARTA), NewWebhook(url="https://crm.aurora.example/licensing"), VENDOR, cloud.now)
    values = {
        "customer_id": customer_id, "reseller_id": reseller_id, "organization": reseller_id, "reference": reference,
        "invitation_id": reference, "user_id": "colleague" if "/teams/" in route else user(ENRICO).user_id,
        "sku": "AQ-SUB-10", "webhook_id": webhook.webhook_id, "order_id": orders.find_by_number(reseller_id, "TP-2026-1187") or "",
        "what": "disable",
        "name": "csv",
        "installation_id": next(iter(administration.find_account(TAX_ID).installations)),
    }  # fmt: skip
    if "/keys" in route or "/pools" in route or "/companies" in route:
        values |= with_a_key(customer_id, cloud)
    return World(cloud, values)


def with_a_key(
    customer_id: str, cloud: Cloud, tax_id: str = TAX_ID, more: tuple[str, ...] = (SECOND,)
) -> dict[str, str]:
    """A key that is imported, one that is not yet, a company, and somebody on a seat."""
    today = cloud.now.date()
    named = dict.fromkeys((tax_id, *more), "A")
    terms = Terms(named, today - timedelta(days=2), today + timedelta(days=300), {"erp": 6})
    first = activation_keys.issue(customer_id, terms, VENDOR, cloud.now)
    preview = activation_keys.preview(customer_id, first.text, cloud.now)
    activation_keys.import_key(customer_id, preview.preview_id, VENDOR, cloud.now)
    companies.create(customer_id, tax_id, "A", VENDOR, cloud.now)
    second = activation_keys.issue(customer_id, terms, VENDOR, cloud.now)
    pool_id = key_pool_id(customer_id, "erp")
    state = seat_store.get_pool(pool_id)
    assert state
    who = seat_rules.Who("giulia", "PC-1", "local", "GF12")
    at = int(cloud.now.timestamp())
    ask = seat_rules.Ask(who, seat_rules.company(tax_id), "billing", seat_rules.instance("billing", "1"), at + 600)
    segment = seat_store.get_segment(pool_id, 0)
    assert segment
    seated = seat_rules.lease(segment, seat_rules.station(who), ask, at)
    assert seated
    seat_store.put(pool_id, seated.segment, at)
    seat = seat_rules.SeatId(seat_rules.station(who), seated.entry.generation, False)
    return {
        "key_id": second.key.key_id, "text": second.text, "pool_id": pool_id, "tax_id": tax_id,
        "preview_id": activation_keys.preview(customer_id, second.text, cloud.now).preview_id,
        "seat_id": seat_rules.seat_id(pool_id, state.secret, seat),
    }  # fmt: skip


def call(made: World, route: str, email: str | None) -> httpx.Response:
    method, path = route.split(" ")[0], made.path(route) + QUERIES.get(route, "")
    body = BODIES.get(route)
    if callable(body):
        body = body({"cloud": made.cloud, **made.values})
    if not path.startswith("/portal"):
        return Caller(made.cloud, email).call(method, path, body)
    visitor = Visitor(made.cloud)
    visitor.cookie = people.begin_session(user(email), made.cloud.now) if email else identity.new_secret()
    if method == "GET":
        return visitor.get(path)
    return visitor.post(path, {"form_token": identity.digest(visitor.cookie, "form")} | (body or _NO_CHANGE))


def is_theirs(route: str, email: str) -> bool:
    if email == MARTA:
        return True
    if re.search(r"{(customer_id|pool_id)}|POST /v1/keys/", route):
        return email not in STRANGERS
    return email == PAOLO or not re.search(r"{(reseller_id|organization|order_id)}", route)


def may(route: str, email: str) -> bool:
    action = ACTIONS[route]
    return action == "signed in" or bool(ALLOWED[action] & places(user(email)))  # type: ignore[index]


def remembered() -> dict[tuple[str, str], Any]:
    """All that is kept, but for sessions and limits."""
    return {
        (item.pk, item.sk): item.to_dynamodb_dict()
        for item in Item.scan()
        if not item.pk.startswith(("SESSION#", "LIMIT#"))
    }


def names_of_others(email: str) -> list[str]:
    """What no stranger may see."""
    return ["Officine Lombarde", GIULIA, ENRICO, TAX_ID] if email in STRANGERS else []


@pytest.mark.parametrize("route", sorted(ACTIONS))
def test_who_may_not_gets_nothing_and_who_may_an_answer_of_their_own(cloud: Cloud, route: str) -> None:
    made = world(cloud, route)
    before = remembered()
    answer = call(made, route, None)
    if "/portal" in route:
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/portal/login")
        assert not answer.text
    else:
        assert answer.status_code == 401
    for email in CALLERS:
        if may(route, email) and is_theirs(route, email):
            continue
        answer = call(made, route, email)
        expected = {404} if may(route, email) else {403, 404} if not is_theirs(route, email) else {403}
        assert answer.status_code in expected, (email, answer.status_code, answer.text)
        if not route.partition(" ")[2].startswith("/portal"):
            problem(answer)
        assert not [name for name in names_of_others(email) if name in answer.text]
    assert remembered() == before

    allowed = [email for email in CALLERS if may(route, email) and is_theirs(route, email)]
    assert allowed
    for email in allowed:
        if not route.startswith("GET") and email != allowed[0]:
            cloud.stack.reset()
            made = world(cloud, route)
        answer = call(made, route, email)
        refused = answer.status_code in (409, 422) and route in NEEDING_MORE
        assert answer.status_code < 400 or refused or route == "POST /portal/me/password", (email, answer.text)
        assert "/portal/login" not in answer.headers.get("location", "")
        assert not [name for name in names_of_others(email) if name in answer.text], email


#: What a path or a body names below a customer, a team or a pool.
NESTED = (
    "installation_id", "user_id", "invitation_id", "reference", "tax_id", "key_id", "pool_id", "seat_id", "preview_id",
    "reseller_id",
)  # fmt: skip
#: Where it is not 404: to withdraw leaves alone what is another's, and a tax id that one's key does not name is refused as such.
ANSWERED = {
    "DELETE /v1/customers/{customer_id}/invitations/{invitation_id}": 204,
    "POST /portal/customers/{customer_id}/invitations/{reference}": 303,
    "POST /portal/teams/{organization}/invitations/{reference}": 303,
    "PATCH /v1/customers/{customer_id}/companies/{tax_id}": 403,
}
#: What a body names, where the path does not.
IN_BODY = {
    "POST /portal/customers/{customer_id}/keys/import": "preview_id",
    "POST /portal/customers/{customer_id}/pools/{pool_id}/release": "seat_id",
}


def mixed_up() -> list[tuple[str, str]]:
    """Each route that names one thing below another, with the thing that is somebody else's."""
    found = []
    for route in sorted(ACTIONS):
        outer, *inner = re.findall(r"{(\w+)}", route) or [""]
        if route in IN_BODY:
            inner.append(IN_BODY[route])
        found += [
            (route, name) for name in inner if outer in ("customer_id", "organization", "pool_id") and name in NESTED
        ]
    return found


def test_there_is_something_to_mix_up() -> None:
    """Of every kind, and all that the routes name: a new name in a path must be said to be nested or not."""
    assert {name for _, name in mixed_up()} == set(NESTED)
    named = set(re.findall(r"{(\w+)}", " ".join(ACTIONS)))
    assert named - set(NESTED) == {"customer_id", "organization", "order_id", "sku", "webhook_id", "what", "name"}


@pytest.mark.parametrize(("route", "foreign"), mixed_up())
def test_somebody_else_s_thing_under_one_s_own_is_not_there(cloud: Cloud, route: str, foreign: str) -> None:
    made = world(cloud, route)
    of_rafael, of_camila = user(RAFAEL).organization, user(CAMILA).organization
    own = {"customer_id": of_rafael, "organization": of_camila}
    if "pool_id" in made.values:
        theirs = with_a_key(of_rafael, cloud, TAX_ID_OF_RAFAEL, ())
        own |= {name: theirs[name] for name in ("pool_id", "seat_id") if name != foreign}
    made.values |= own
    before = remembered()
    tried = 0
    for email in (MARTA, RAFAEL, CAMILA):
        outer = made.values[re.findall(r"{(\w+)}", route)[0]]
        if not may(route, email) or (email != MARTA and (email == CAMILA) != (outer == of_camila)):
            continue
        tried += 1
        answer = call(made, route, email)
        assert answer.status_code == ANSWERED.get(route, 404), (email, answer.status_code, answer.text)
        sent = made.path(route)
        assert not [name for name in names_of_others(RAFAEL) if name in answer.text and name not in sent]
    assert tried
    assert remembered() == before


def test_personal_data_of_somebody_else_s_user_is_not_there(cloud: Cloud) -> None:
    """The one thing that a query names."""
    of_rafael, enrico = user(RAFAEL).organization, user(ENRICO).user_id
    path = f"/v1/customers/{of_rafael}/personal-data?user_id={enrico}"
    found = Caller(cloud, RAFAEL).call("GET", path).json()
    assert (found["people"], found["operations"]) == ([], [])
    assert not [name for name in names_of_others(RAFAEL) if name in json.dumps(found)]
    before = {key: item for key, item in remembered().items() if not key[0].startswith(of_rafael)}
    assert problem(Caller(cloud, RAFAEL).call("DELETE", path)) == (409, "STILL_MEMBER")
    assert {key: item for key, item in remembered().items() if not key[0].startswith(of_rafael)} == before


# ── servers and stations ──

_ASK: dict[str, Any] = {"module": "billing", "instance": "1"}


@pytest.mark.parametrize("route", sorted(route for route, by in OTHERS.items() if by in ("server token", "seat token")))
def test_whoever_is_not_its_server_or_station_gets_nothing(cloud: Cloud, server: Server, route: str) -> None:
    pool = concurrent_pool(cloud, server, 3)
    station = Station(pool)
    assert station.lease().status_code == 201
    stranger = Server(cloud, machine="b")
    assert stranger.activate(cloud.token_of("São Paulo")).status_code == 201
    foreign = Station(Pool(cloud, stranger, stranger.claims["cus"], pool.pool_id, ""))
    method, path = route.split(" ")
    path = path.format(pool_id=pool.pool_id, seat_id=station.seat["seat_id"])
    bodies = {
        "POST /v1/validations": server.body(), "POST /v1/deactivations": {"nonce": new_nonce()}, "POST /v1/seats": station.ask(),
        "POST /v1/seats/{seat_id}/borrow": {"days": 1},
    }  # fmt: skip
    body = bodies.get(route)
    with_query = path if route != "PUT /v1/seats/{seat_id}" else f"{path}?{urlencode(_ASK)}"
    key_of_another = Station(pool, key=stranger.key)
    user_token = str((cloud.stack.user_pool.token(MARTA) or {})["access_token"])
    nobody = ["x", "a.b.c", user_token, key_of_another.token(), stranger.token, server.token]
    if OTHERS[route] == "server token":
        nobody += [station.token(), foreign.token()]
    for token in nobody:  # the last two tokens of servers come without their proof
        assert station.call(method, with_query, body, token).status_code == 401, token
    if OTHERS[route] == "seat token" and path != "/v1/pools":
        assert problem(foreign.call(method, with_query, body)) == (404, "NOT_FOUND")
    if path == "/v1/pools":
        assert pool.pool_id not in foreign.call(method, path).text
    assert pool.in_use() == 1
    assert server.validate().json()["valid"]


def test_a_token_without_a_user_of_ours_is_nobody(cloud: Cloud) -> None:
    from licensing import user_pool

    from infra.local.users import PASSWORD, DemoUser

    user_pool.put_user("nobody@example.com", PASSWORD)
    cloud.stack.user_pool.users.append(DemoUser("nobody@example.com", "Nobody", "vendor", "", PASSWORD))
    assert problem(Caller(cloud, "nobody@example.com").call("GET", "/v1/customers")) == (401, "UNAUTHORIZED")
    cloud.stack.user_pool.users.pop()


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer x", "Bearer a.b.c", "Basic eDp5"])
def test_a_token_that_is_none_does_not_pass_the_gateway(cloud: Cloud, header: str) -> None:
    url = cloud.stack.sites[0].url + "/v1/customers"
    assert cloud.http.get(url, headers={"authorization": header}).status_code == 401


def test_the_backup_site_serves_no_user(cloud: Cloud) -> None:
    token = cloud.stack.user_pool.token(MARTA)
    assert token
    url = cloud.stack.sites[1].url + "/v1/customers"
    answer = cloud.http.get(url, headers={"authorization": f"Bearer {token['access_token']}"})
    assert problem(answer) == (503, "TEMPORARILY_UNAVAILABLE")
