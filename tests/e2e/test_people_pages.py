"""The pages of customers, people and resellers, as the vendor, a reseller and a customer's people see them."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from infra.local.stack import Stack
from tests.e2e.browser import Visitor, needs_chromium, visitor
from tests.support.cloud import TAX_ID

pytestmark = needs_chromium

MARTA, PAOLO = "marta.conti@aurora.example", "paolo.bianchi@telefoniapadana.example"
GIULIA, ENRICO = "giulia.ferrario@officinelombarde.example", "enrico.galli@officinelombarde.example"


def pages_of(email: str) -> list[str]:
    from licensing.store import accounts, people

    customer = f"/portal/customers/{accounts.find_by_tax_id(TAX_ID)}"
    user = people.find_by_email(email)
    assert user
    pages = [f"{customer}/people", f"{customer}/details", "/portal/me", "/portal/nothing-here"]
    pages += [f"{customer}/log", f"{customer}/log/export", f"{customer}/log/verify?from=2026-01-01"]
    if user.kind == "customer":
        return pages
    pages += ["/portal/customers", "/portal/customers/new", "/portal/silent?days=1", "/portal/renewals?days=400"]
    pages += [f"/portal/teams/{user.organization}"]
    if user.kind == "vendor":
        reseller = next(iter(people.resellers()))
        pages += [
            "/portal/resellers",
            "/portal/resellers/new",
            "/portal/webhooks",
            f"/portal/resellers/{reseller}",
            f"/portal/teams/{reseller}",
        ]
    return pages


def named(path: str) -> str:
    return re.sub(r"[^a-z]+", "-", re.sub(r"(cus|res)_\w+", "x", path.partition("?")[0])).strip("-")


@pytest.mark.parametrize("email", [MARTA, PAOLO, GIULIA, ENRICO])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_page_can_be_read_and_used_by_everybody(
    stack: Stack, browser: Browser, tmp_path: Path, email: str, dark: bool
) -> None:
    with visitor(browser, stack.sites[0].url, tmp_path, dark=dark) as here:
        here.sign_in(email)
        for path in pages_of(email):
            here.go(path)
            here.page.locator("details").evaluate_all("all => all.forEach(each => each.open = true)")
            here.look(named(path))
        assert here.complaints == []


@pytest.mark.parametrize("path", ["/portal/login", "/portal/register", "/portal/reset"])
def test_pages_before_signing_in(stack: Stack, browser: Browser, tmp_path: Path, path: str) -> None:
    with visitor(browser, stack.sites[0].url, tmp_path) as here:
        here.go(path)
        here.look(named(path))
        assert here.complaints == []


def test_inviting_somebody_needs_no_script_and_no_mouse(stack: Stack, browser: Browser, tmp_path: Path) -> None:
    with visitor(browser, stack.sites[0].url, tmp_path, script=False) as here:
        here.sign_in(GIULIA)
        here.go(pages_of(GIULIA)[0])
        here.page.locator("summary", has_text="Invite").press("Enter")
        here.page.fill("#email", "anna@officinelombarde.example")
        here.page.locator("#email").press("Enter")
        expect_done(here, "The invitation is on its way.")
        here.go(pages_of(GIULIA)[0])
        here.page.get_by_role("button", name="Withdraw the invitation of anna@officinelombarde.example").press("Enter")
        expect_done(here, "The invitation is withdrawn.")


def test_what_cannot_be_taken_back_is_asked_first(stack: Stack, browser: Browser, tmp_path: Path) -> None:
    with visitor(browser, stack.sites[0].url, tmp_path) as here:
        here.sign_in(GIULIA)
        here.go(pages_of(GIULIA)[0])
        here.page.once("dialog", lambda dialog: dialog.dismiss())
        here.page.get_by_role("button", name="Remove Enrico Galli").click()
        here.go(pages_of(GIULIA)[0])
        assert here.page.get_by_text(ENRICO).is_visible()
        here.page.once("dialog", lambda dialog: dialog.accept())
        here.page.get_by_role("button", name="Remove Enrico Galli").click()
        expect_done(here, "The person is removed.")
        stack.reset()


def expect_done(here: Visitor, text: str) -> None:
    assert here.page.get_by_role("status").inner_text() == text
