"""Alert e-mails in a phone's width: every kind, in five languages."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, get_args

import pytest
from licensing import alert_mail, mail
from licensing.languages import language
from licensing.rules.alerts import Alert, AlertKind, Group
from licensing.rules.vendor import Contact, Vendor
from playwright.sync_api import Page

from tests.e2e.browser import chromium, needs_chromium

pytestmark = needs_chromium

DAY = date(2027, 3, 31)
LONG = "Internationale-Warteschlangenverwaltung-Krankenhaus"
KID = "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"
VENDOR = Vendor("Aurora", Contact("Desk", f"{LONG}@aurora.example"), "https://licensing.aurora.example")


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """An empty page of a phone's width."""
    with chromium() as browser:
        yield browser.new_page(viewport={"width": 390, "height": 844})


@pytest.mark.parametrize("tag", ["en", "it", "es", "pt-BR", "sv"])
@pytest.mark.parametrize("organization", ["customer", "vendor"])
def test_an_alert_of_any_kind_fits_a_phone(
    page: Page, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tag: str, organization: Any
) -> None:
    monkeypatch.setenv("MAIL_SENDER", "licenses@aurora.example")
    facts = {"care": "GOLD"}
    alerts = [
        Alert(kind, "id", "server" if kind == "signing_key" else LONG, KID, DAY, -14, -14, facts=facts)
        for kind in get_args(AlertKind)
    ]
    group = Group("cus_1", LONG, f"{LONG} S.r.l.", organization, ())
    section = alert_mail._section(group, alerts, VENDOR, language(tag))
    told = {"sections": [section], "count": len(alerts), "first": "", "more": 3, "day": language(tag).date(DAY),
            "name": "", "unsubscribe": "https://licensing.aurora.example/portal/unsubscribe/1"}  # fmt: skip
    html = mail.compose("alerts", tag, VENDOR, ["giulia@officine.example"], told).get_body(("html",))
    assert html
    page.set_content(html.get_content())
    page.screenshot(path=tmp_path / f"alerts-{tag}-{organization}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
