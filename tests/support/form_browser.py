"""A browser without scripts: it keeps the session's cookie, and sends the forms that pages hold."""

import re
from dataclasses import dataclass, field
from html import unescape

import httpx

from tests.support.cloud import Cloud

PASSWORD = "a demo password"
VENDOR_USER = "marta.conti@aurora.example"
RESELLER_USER = "paolo.bianchi@telefoniapadana.example"
OTHER_RESELLER_USER = "camila.prado@redesdosul.example"


@dataclass
class Browser:
    """One visitor of Site 1."""

    cloud: Cloud
    cookie: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def site(self) -> str:
        return self.cloud.stack.sites[0].url

    def get(self, path: str) -> httpx.Response:
        return self._took(self.cloud.http.get(self.site + path, headers=self._sent()))

    def send(self, page: httpx.Response, **fields: str) -> httpx.Response:
        """Send a form from a page, to the page's own address or another, and go where the answer leads."""
        path = fields.pop("to", page.request.url.path)
        return self.post(path, form_token=token_of(page), **fields)

    def post(self, path: str, **fields: str) -> httpx.Response:
        headers = self._sent() | {"origin": self.site}
        return self._follow(self.cloud.http.post(self.site + path, data=fields, headers=headers))

    def upload(self, page: httpx.Response, content: str) -> httpx.Response:
        return self._follow(
            self.cloud.http.post(
                str(page.request.url),
                data={"form_token": token_of(page), "text": ""},
                files={"file": ("orders.yaml", content.encode(), "application/yaml")},
                headers=self._sent() | {"origin": self.site},
            )
        )

    def sign_in(self, email: str) -> "Browser":
        answer = self.send(self.get("/portal/login"), email=email, password=PASSWORD, next="/portal/orders")
        assert answer.status_code == 200, answer.text
        return self

    def _sent(self) -> dict[str, str]:
        return self.headers | ({"cookie": self.cookie} if self.cookie else {})

    def _took(self, response: httpx.Response) -> httpx.Response:
        if cookie := response.headers.get("set-cookie"):
            self.cookie = cookie.partition(";")[0]
        return response

    def _follow(self, response: httpx.Response) -> httpx.Response:
        self._took(response)
        return self.get(response.headers["location"]) if response.status_code == 303 else response


def token_of(page: httpx.Response) -> str:
    found = re.search(r'name="form_token" value="([^"]+)"', page.text)
    assert found, page.text
    return found[1]


def text_of(page: httpx.Response) -> str:
    """What a page says, without its markup."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page.text)).split())
