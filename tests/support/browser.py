"""A browser that follows where it is led, and shows what is in its forms and what is to be read."""

import html
import re
from dataclasses import dataclass, field
from typing import Any

import httpx

from infra.local.users import PASSWORD
from tests.support.visitor import Visitor


@dataclass
class Browser(Visitor):
    """Somebody with a browser without scripts."""

    shown: httpx.Response = field(default_factory=lambda: httpx.Response(0))

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Open a page, wherever it leads."""
        return self._follow(super().get(path, **headers))

    def post(self, path: str, fields: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        """Send a form with the token of the page shown, and go where it leads."""
        return self._follow(super().post(path, fields, **headers))

    def signed_in(self, email: str, password: str = PASSWORD) -> "Browser":
        assert self.sign_in(email, password).status_code == 200
        return self

    def inputs(self) -> dict[str, str]:
        """What the fields of all forms on the page hold; the last of a name."""
        found = {}
        for tag in re.findall(r"<input[^>]*>", self.page):
            attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
            if "name" in attributes:
                found[attributes["name"]] = html.unescape(attributes.get("value", ""))
        return found

    @property
    def text(self) -> str:
        """What is to be read on the page."""
        return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", self.page)))

    def _follow(self, response: httpx.Response) -> httpx.Response:
        self.shown = response
        return self.get(response.headers["location"]) if response.status_code == 303 else response
