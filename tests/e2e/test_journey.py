"""From the order to the running server, as the people do it: in a browser, in a mail client, at the server's command line."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import yaml
from playwright.sync_api import Browser

from infra.local.stack import Stack
from tests.e2e.browser import Visitor, needs_chromium, visitor
from tests.e2e.test_make_run import eventually
from tests.support.cloud import TAX_ID

pytestmark = needs_chromium

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(sys.executable).parent
GIULIA, MARTA = "giulia.ferrario@officinelombarde.example", "marta.conti@aurora.example"
RESELLER = "IT12345670017"


def run(stack: Stack, program: str, *arguments: str) -> str:
    environment = {
        **os.environ, "COLUMNS": "200", "NO_COLOR": "1", "LC_ALL": "C.UTF-8", "AWS_ENDPOINT_URL": stack.aws_url,
        "AWS_REGION": "eu-south-1", "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local",
    }  # fmt: skip
    done = subprocess.run(
        [str(PROGRAMS / program), *arguments], capture_output=True, text=True, timeout=60, env=environment, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def order(stack: Stack, tmp_path: Path, number: str, *lines: dict[str, object]) -> None:
    """Load an order from a file, as the vendor's operator."""
    document = {
        "orders": [{"reseller": RESELLER, "order_number": number, "customer": {"tax_id": TAX_ID}, "lines": list(lines)}]
    }
    file = tmp_path / f"{number}.yaml"
    file.write_text(yaml.safe_dump(document))
    run(stack, "cloud-licensing", "orders", "load", str(file))


def link_in_the_mail(stack: Stack, number: str) -> str:
    """The button's address in the e-mail that tells of an order."""

    def found() -> str | None:
        for mail in httpx.get(f"{stack.sites[0].url}/local/outbox", trust_env=False).json()["items"]:
            if number in mail["subject"] + mail["text"] and (link := re.search(r"http\S+(/unlock/\S+)", mail["text"])):
                return link[1]
        return None

    return str(eventually(found))


def unlock(here: Visitor, stack: Stack, number: str) -> None:
    here.go(link_in_the_mail(stack, number))
    here.page.fill("#order_number", number)
    here.page.get_by_role("button", name="Unlock all licenses").click()
    here.page.get_by_text("All licenses of this order are unlocked.").wait_for()


def license_manager(stack: Stack) -> Callable[..., str]:
    home = ("--home", str(stack.directory / "server-1"), "--vendor", str(stack.vendor_file))
    return lambda *arguments: run(stack, "license-manager", *home, *arguments)


def cell(here: Visitor, application: str, server: str) -> object:
    """The field of the license table where an application meets a server; the row that has none assigned yet."""
    return here.page.get_by_label(f"{application} {server}", exact=True)


def test_from_the_order_to_a_server_that_runs(stack: Stack, browser: Browser, tmp_path: Path) -> None:
    pictures = Path(os.environ.get("PICTURES", tmp_path))
    agent = license_manager(stack)
    order(
        stack,
        tmp_path,
        "TP-7001",
        {"kind": "new", "sku": "HS-SUB-50", "quantity": 1, "years": 1, "care": "GOLD", "care_years": 1},
    )

    with visitor(browser, stack.sites[0].url, pictures) as reader:
        link = link_in_the_mail(stack, "TP-7001")
        reader.go("/local/outbox")
        assert "TP-7001" in reader.page.content()
        reader.page.screenshot(path=pictures / "outbox.png")
        reader.go(link)
        reader.look("unlock")
        reader.page.fill("#order_number", "TP-9999")
        reader.page.get_by_role("button", name="Unlock all licenses").click()
        reader.look("unlock-wrong-number")
        reader.page.fill("#order_number", "TP-7001")
        reader.page.get_by_role("button", name="Unlock all licenses").click()
        reader.page.get_by_text("All licenses of this order are unlocked.").wait_for()
        reader.look("unlocked")
        assert reader.complaints == []

    with visitor(browser, stack.sites[0].url, pictures) as giulia:
        giulia.sign_in(GIULIA)
        giulia.look("licenses")
        row = giulia.page.locator("tbody", has_text="Hotel Services").first
        fields = row.locator("input:not([type=hidden])")
        fields.nth(0).fill("5")
        fields.nth(1).fill("15")
        giulia.page.get_by_role("button", name="Save quantities").click()
        giulia.page.get_by_text("Saved.").wait_for()
        assert [fields.nth(place).input_value() for place in (0, 1)] == ["5", "15"]
        giulia.look("licenses-saved")
        giulia.page.get_by_role("link", name="Milano", exact=True).first.click()
        giulia.look("server-available")
        token = giulia.page.locator("code.token").inner_text()

        assert "First validation" in agent("activate", "--token", token)
        giulia.page.reload()
        giulia.page.locator(".heading .badge", has_text="active").wait_for()
        giulia.look("server-active")
        assert giulia.complaints == []

    mine = yaml.safe_load(agent("status", "--json"))
    name, ends = next(
        (each["license_code"], each["last_day"])
        for each in mine["entitlements"]
        if each["application"] == "hotel-services"
    )

    # An expansion is unlocked and assigned, a renewal extends at once: both arrive with nobody doing anything at the server.
    order(stack, tmp_path, "TP-7002", {"kind": "expansion", "license_code": name, "quantity": 1})
    order(stack, tmp_path, "TP-7003", {"kind": "renewal", "license_code": name, "years": 1})
    with visitor(browser, stack.sites[0].url, pictures) as reader:
        unlock(reader, stack, "TP-7002")
        assert reader.complaints == []
    with visitor(browser, stack.sites[0].url, pictures) as giulia:
        giulia.sign_in(GIULIA)
        row = giulia.page.locator("tbody", has_text="Hotel Services").first
        row.locator("input:not([type=hidden])").nth(1).fill("60")
        giulia.page.get_by_role("button", name="Save quantities").click()
        giulia.page.get_by_text("Saved.").wait_for()
    agent("validate")
    after = yaml.safe_load(agent("status", "--json"))
    hotel = [each["quantity"] for each in after["entitlements"] if each["application"] == "hotel-services"]
    assert sum(hotel) == 60, "15 of what was there, and the rest of the expansion"
    renewed = next(each for each in after["entitlements"] if each["license_code"] == name)
    assert date.fromisoformat(renewed["last_day"]).year == date.fromisoformat(ends).year + 1
    assert datetime.now(UTC) + timedelta(days=300) < datetime.fromisoformat(f"{renewed['last_day']}T00:00:00+00:00")


def test_the_vendor_follows_an_order(stack: Stack, browser: Browser, tmp_path: Path) -> None:
    pictures = Path(os.environ.get("PICTURES", tmp_path))
    with visitor(browser, stack.sites[0].url, pictures) as marta:
        marta.sign_in(MARTA)
        for path, name in (
            ("/portal/customers", "customers"), ("/portal/orders", "orders"), ("/portal/renewals?days=60", "renewals"),
            ("/portal/orders/new", "order-upload"),
        ):  # fmt: skip
            marta.go(path)
            marta.look(name)
        marta.go("/portal/orders")
        marta.page.get_by_role("link", name="TP-2026-1187").click()
        marta.look("order")
        assert marta.complaints == []


@pytest.mark.parametrize(
    ("locale", "said"),
    [("it-IT", "Licenze"), ("es-ES", "Licencias"), ("pt-BR", "Licenças"), ("sv-SE", "Licenser"), ("de-DE", "Licenses")],
)
def test_the_portal_speaks_the_browser_s_language(
    stack: Stack, browser: Browser, tmp_path: Path, locale: str, said: str
) -> None:
    pictures = Path(os.environ.get("PICTURES", tmp_path))
    with visitor(browser, stack.sites[0].url, pictures, locale=locale) as giulia:
        giulia.sign_in(GIULIA)
        giulia.page.get_by_role("link", name=said, exact=True).first.wait_for()
        giulia.look(f"licenses-{locale}")
        giulia.page.get_by_role("link", name="Milano", exact=True).first.click()
        giulia.look(f"server-{locale}")
        giulia.go(link_in_the_mail(stack, "TP-2026-1187"))
        giulia.look(f"unlock-{locale}")
        assert giulia.complaints == []
