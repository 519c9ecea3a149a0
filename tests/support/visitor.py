"""A browser without a screen: keeps its cookies, follows redirects, sends the forms that a page shows. And callers of the API."""

import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx

from infra.local.users import PASSWORD
from tests.support.cloud import Cloud

MARTA, ERP = "marta.conti@aurora.example", "erp"
PAOLO, CAMILA = "paolo.bianchi@telefoniapadana.example", "camila.prado@redesdosul.example"
GIULIA, ENRICO = "giulia.ferrario@officinelombarde.example", "enrico.galli@officinelombarde.example"
RAFAEL = "rafael.moreira@clinicaboavista.example"

_COOKIE = "__Host-session"


@dataclass
class Visitor:
    """Somebody with a browser."""

    cloud: Cloud
    site: int = 0
    language: str = "en"
    cookie: str | None = None
    page: str = ""
    set_cookies: list[str] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return self.cloud.stack.sites[self.site].url

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self._send("GET", path, None, headers)

    def post(self, path: str, fields: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        """A form with the token of the last page."""
        sent = {"form_token": self.form_token} | (fields or {})
        form = {"content-type": "application/x-www-form-urlencoded", "origin": self.origin}
        return self._send("POST", path, urlencode(sent), form | {k.replace("_", "-"): v for k, v in headers.items()})

    def submit(self, page: str, path: str | None = None, **fields: str) -> httpx.Response:
        """Look at a page, and send a form of it."""
        self.get(page)
        return self.post(path or page, fields)

    @property
    def form_token(self) -> str:
        found = re.search(r'name="form_token" value="([^"]+)"', self.page)
        return found[1] if found else ""

    def sign_in(self, email: str, password: str = PASSWORD) -> httpx.Response:
        return self.submit("/portal/login", email=email, password=password, next="")

    def _send(self, method: str, path: str, content: str | None, headers: dict[str, str]) -> httpx.Response:
        sent = {"accept-language": self.language} | {name: value for name, value in headers.items() if value}
        if self.cookie is not None:
            sent.setdefault("cookie", f"{_COOKIE}={self.cookie}")
        response = self.cloud.http.request(method, self.origin + path, content=content, headers=sent)
        self.set_cookies = response.headers.get_list("set-cookie")
        for each in self.set_cookies:
            name, _, rest = each.partition("=")
            assert name == _COOKIE
            self.cookie = rest.partition(";")[0]
        if response.text:
            self.page = response.text
        return response


def signed_in(cloud: Cloud, email: str) -> Visitor:
    visitor = Visitor(cloud)
    assert visitor.sign_in(email).status_code == 303
    visitor.get("/portal/me")
    return visitor


@dataclass
class Caller:
    """A user of the API, by its bearer token; None for nobody."""

    cloud: Cloud
    username: str | None

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        sent = {"content-type": "application/json"} if body is not None else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        if self.username:
            sent["authorization"] = f"Bearer {self._token()}"
        content = None if body is None else json.dumps(body)  # halves of pairs of characters too, which httpx refuses
        return self.cloud.http.request(method, self.cloud.stack.sites[0].url + path, content=content, headers=sent)

    def _token(self) -> str:
        token = self.cloud.stack.user_pool.token(self.username or "")
        assert token
        return str(token["access_token"])


def links(cloud: Cloud) -> list[tuple[str, str, str]]:
    """The mails sent, newest first, once the queue is worked off: recipient, subject, and the path of the link in it."""
    while cloud.work_off_queue():
        pass
    found = []
    for mail in cloud.get("/local/outbox").json()["items"]:
        path = re.search(r"https?://[^/\s]+(/portal/\S*)", mail["text"])
        found.append((mail["to"][0], mail["subject"], path[1] if path else ""))
    return found
