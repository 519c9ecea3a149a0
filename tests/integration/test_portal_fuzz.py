"""Nasty requests to every page and form of the portal, and to an order's link: as anyone, and as each role."""

import os
import re
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from licensing import identity, people
from licensing.rules.people import Invitation

from infra.local.users import PASSWORD
from tests.integration.test_access import BODIES, World, portal_routes, user, world
from tests.support.cloud import TAX_ID, VENDOR, Cloud
from tests.support.mangling import TEXTS, mutated
from tests.support.visitor import GIULIA, MARTA, PAOLO, Caller

CALLERS = [None, MARTA, PAOLO, GIULIA]
ROUTES = sorted({*portal_routes(), "GET /unlock", "GET /unlock/{secret}", "POST /unlock/{secret}"})
#: For each route; FUZZ_CASES= tries more.
EXAMPLES = int(os.environ.get("FUZZ_CASES", "10"))
FORM = "application/x-www-form-urlencoded"

ODD = TEXTS | st.sampled_from(
    ["", "0", "-1", "9" * 400, "x" * 3000, "..", "%", "null", "true", "a,b", "<b>", "\0", "{}"]
)
VALUES = ODD | st.sampled_from(["2026-11-22", "9999-12-31", "0001-01-01", "2026-02-30"])
#: What the portal's queries and forms have, beside what BODIES names.
NAMES = st.sampled_from(
    ["done", "next", "cursor", "before", "after", "from", "to", "state", "days", "search", "show", "start", "rows", "part", "sure",
     "form_token", "columns", "do", "name", "text", "file", "key", "language", "unsaved", "answer", "mode", "purpose", "group"]
)  # fmt: skip
#: What the routes take that nobody signs in for.
OPEN = {
    "POST /unlock/{secret}": {"order_number": "N-1", "email": "anna@example.com"},
    "POST /portal/invitations/{secret}": {"name": "Anna", "password": PASSWORD, "password_again": PASSWORD},
    "POST /portal/login": {"email": GIULIA, "password": PASSWORD, "next": "/portal"},
    "POST /portal/register": {"tax_id": TAX_ID, "email": "anna@example.com"},
    "POST /portal/reset": {"email": GIULIA},
    "POST /portal/reset/{secret}": {"password": PASSWORD, "password_again": PASSWORD},
}
PAIRS = st.lists(st.tuples(NAMES | ODD, VALUES), max_size=6)


def encoded(pairs: Any) -> str:
    """Names may come more than once; halves of pairs of characters too."""
    return urlencode([(n.encode("utf-8", "surrogatepass"), v.encode("utf-8", "surrogatepass")) for n, v in pairs])


def part(text: str) -> str:
    """One part of a path. A browser resolves dots itself."""
    return quote(text.encode("utf-8", "surrogatepass"), safe="") or "%20" if text.strip(".") else "%20"


@st.composite
def requests(draw: st.DrawFn, made: World, route: str, cookie: str) -> tuple[str, str, dict[str, str], bytes]:
    """A request to a route: in part as the pages send it, in part anything."""
    method, _, template = route.partition(" ")
    names = re.findall(r"{(\w+)}", template)
    values = {name: part(draw(st.just(made.values[name]) | mutated(made.values[name]) | ODD)) for name in names}
    path = template.format_map(values)
    if draw(st.booleans()):
        path += "?" + draw(PAIRS.map(encoded) | TEXTS.map(part))
    headers = {"cookie": f"__Host-session={cookie}", "accept-language": "en"}
    if draw(st.integers(0, 7)) == 0:
        bad = mutated(headers["cookie"]) | st.sampled_from(["__Host-session=", "__Host-session=" + "a" * 4000, ";;=;"])
        headers["cookie"] = "".join(
            each for each in draw(bad) if each.isascii() and each.isprintable()
        )  # h11 sends no other
    if method == "GET":
        return method, path, headers, b""
    body = BODIES.get(route) or OPEN.get(route, {})
    fields: dict[str, Any] = body({"cloud": made.cloud, **made.values}) if callable(body) else body
    pairs = [
        (name, draw(st.just(str(value)) | VALUES | mutated(str(value))))
        for name, value in fields.items()
        if draw(st.integers(0, 5))
    ]
    pairs += draw(PAIRS)
    if draw(st.integers(0, 5)):
        pairs.insert(0, ("form_token", identity.digest(cookie, "form")))
    content = encoded(pairs).encode()
    match draw(st.integers(0, 9)):
        case 0:
            content = draw(
                st.binary(max_size=200) | st.sampled_from([b"", b"a" * 300_000, b"a=" + b"9" * 70_000, b"&" * 5000])
            )
        case 1:
            parts = "".join(f'--b\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in pairs)
            content = (parts + "--b--\r\n").encode("utf-8", "surrogatepass")
            headers["content-type"] = draw(
                st.sampled_from(["multipart/form-data; boundary=b", "multipart/form-data", "x"])
            )
        case 2:
            headers["content-type"] = draw(
                st.sampled_from(["application/json", "text/plain", FORM + "; charset=utf-16", "/"])
            )
    if draw(st.integers(0, 7)) == 0:
        headers["origin"] = draw(st.sampled_from(["null", "https://evil.example", "//", "http://["]))
    return method, path, {"content-type": FORM, **headers}, content


def secret(cloud: Cloud, route: str) -> str:
    """What stands in a link that was mailed."""
    if "/unlock" in route:
        Caller(cloud, MARTA).call("POST", "/v1/orders", BODIES["POST /v1/orders"])
        while cloud.work_off_queue():
            pass
        texts = "".join(each["text"] for each in cloud.get("/local/outbox").json()["items"])
        return re.findall(r"/unlock/(\w+)", texts)[0]
    return people.invite_by_hand(
        Invitation("anna@example.com", user(GIULIA).organization, ("administrator",)), VENDOR, cloud.now
    )


def fault(answer: httpx.Response) -> str:
    """What is wrong with an answer of the portal; empty where nothing is."""
    kind = answer.headers.get("content-type", "")
    if answer.status_code >= 500:
        return "a 5xx"
    if answer.status_code == 303:
        location = answer.headers["location"]
        return "" if location.startswith(("/portal", "/unlock")) and location.isprintable() else f"leads to {location}"
    if "content-disposition" in answer.headers:
        return "" if answer.status_code == 200 else "a file of an error"
    if answer.status_code in (404, 413, 431) and kind.startswith("application/json"):
        return ""  # the gateway's own
    if not kind.startswith("text/html"):
        return f"neither page nor redirect: {answer.status_code} {kind}"
    return "" if answer.text.rstrip().endswith("</html>") else "half a page"


@pytest.mark.slow
@pytest.mark.parametrize("route", ROUTES)
def test_no_request_breaks_a_page(cloud: Cloud, route: str) -> None:
    made, url = world(cloud, route), cloud.stack.sites[0].url
    made.values |= {"secret": secret(cloud, route), "token": "t"}
    cookies = [people.begin_session(user(each), cloud.now) if each else identity.new_secret() for each in CALLERS]

    @seed(1)
    @settings(max_examples=EXAMPLES, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        who = data.draw(st.integers(0, len(CALLERS) - 1))
        method, path, headers, content = data.draw(requests(made, route, cookies[who]))
        answer = cloud.http.request(method, url + path, headers=headers, content=content)
        assert not fault(answer), (CALLERS[who], method, path, headers, content[:300], answer.text[:300])

    holds()
