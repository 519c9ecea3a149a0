"""Seats and keys in the portal, as people see them: import with preview, the live view, force release."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from infra.local.aws import LOCK
from infra.local.stack import PRIMARY, Stack
from tests.e2e.browser import Visitor, needs_chromium, visitor

pytestmark = needs_chromium

MARTA, CARMEN = "marta.conti@aurora.example", "carmen.ibanez@miradordelturia.example"
TAX_ID = "ESA58818501"


@pytest.fixture
def customer_id(stack: Stack) -> str:
    from licensing.store import accounts

    stack.reset()
    return accounts.find_by_tax_id(TAX_ID) or ""


def seat(
    stack: Stack, customer_id: str, os_user: str, session: str = "local", user_code: str = "", terminal: str = "TS-01"
) -> None:
    """Somebody on a seat of the group's key, as a License Manager would have it."""
    from licensing import contract, seats
    from licensing.rules.activation_keys import key_pool_id
    from licensing.rules.entitlements import Standing
    from licensing.stations import Caller

    standing = Standing(
        customer_id=customer_id, customer_name="Hotel", tax_id=TAX_ID, customer_time_zone="Europe/Madrid",
        installation_id="ins_test", name="Valencia", mode="online", purpose=None, disabled=False,
        customer_deleted=False, log_retention=timedelta(days=365), entitlements=(),
    )  # fmt: skip
    for module in ("chat", "history"):
        body = contract.SeatRequest(
            pool_id=key_pool_id(customer_id, "web-chat"), company_tax_id=TAX_ID, os_user=os_user, terminal=terminal,
            session=session, user_code=user_code or os_user.upper(), module=module, instance="1",
        )  # fmt: skip
        with LOCK:  # which site a call is at stands in the environment
            os.environ.update(PRIMARY.environment)
            seats.lease(Caller(customer_id, "ins_test", standing), body, stack.clock().replace(microsecond=0))


def open_pool(here: Visitor, customer_id: str) -> None:
    here.sign_in(CARMEN)
    here.go(f"/portal/customers/{customer_id}/keys")
    here.page.locator("tr", has_text="activation key").get_by_role("link").click()


def test_a_key_is_imported_after_looking_at_it(
    stack: Stack, browser: Browser, tmp_path: Path, customer_id: str
) -> None:
    with visitor(browser, stack.sites[0].url, tmp_path) as here:
        here.sign_in(CARMEN)
        here.go(f"/portal/customers/{customer_id}/keys")
        here.look("keys")
        here.page.set_input_files("#key_file", stack.key_file)
        here.page.get_by_role("button", name="Look at it").click()
        expect(here.page.get_by_role("heading", name="What this key changes")).to_be_visible()
        expect(here.page.get_by_text("Balneario Mirador S.L.")).to_be_visible()
        here.look("key-preview")
        here.page.get_by_role("link", name="Cancel").click()
        expect(here.page.get_by_text("Key no. 1, valid from")).to_be_visible()

        here.page.fill("#key_text", stack.key_file.read_text(encoding="utf-8").replace("\n", "\n> "))
        here.page.get_by_role("button", name="Look at it").click()
        here.page.get_by_label("begins anew with this key").check()
        here.page.get_by_role("button", name="Import the key").click()
        expect(here.page.get_by_role("status")).to_have_text("The key is imported, with all its companies.")
        expect(here.page.get_by_text("Key no. 2, valid from")).to_be_visible()
        here.page.get_by_role("button", name="Set Mirador Eventos S.L. up").click()
        expect(here.page.get_by_role("button", name="Rename Mirador Eventos S.L.")).to_be_visible()
        here.look("keys-imported")
        assert here.complaints == []


def test_the_live_view_by_keyboard_and_force_release(
    stack: Stack, browser: Browser, tmp_path: Path, customer_id: str
) -> None:
    seat(stack, customer_id, "ana", "rdp-1")
    seat(stack, customer_id, "ana", "rdp-2")
    seat(stack, customer_id, "tecnico", user_code="sup1")
    with visitor(browser, stack.sites[0].url, tmp_path) as here:
        open_pool(here, customer_id)
        modules = here.page.locator("tr", has_text="rdp-2").locator("details")
        expect(modules.get_by_text("history")).to_be_hidden()
        modules.locator("summary").press("Enter")
        expect(modules.get_by_text("history")).to_be_visible()
        expect(here.page.get_by_text("Support users, who use no seat")).to_be_visible()
        expect(here.page.get_by_text("Restrict users to a single session")).to_be_visible()
        expect(here.page.get_by_role("img", name="Seats in use and refusals")).to_be_visible()
        here.look("pool")

        here.page.once("dialog", lambda dialog: dialog.accept())
        here.page.locator("tr", has_text="rdp-1").get_by_role("button", name="Release the seat of ana").click()
        expect(here.page.get_by_role("status")).to_have_text("The seat is free.")
        expect(here.page.get_by_text("rdp-1")).to_have_count(0)
        expect(here.page.get_by_text("rdp-2")).to_be_visible()
        assert here.complaints == []


def test_a_double_click_opens_the_modules_of_a_row(
    stack: Stack, browser: Browser, tmp_path: Path, customer_id: str
) -> None:
    seat(stack, customer_id, "ana")
    with visitor(browser, stack.sites[0].url, tmp_path) as here:
        open_pool(here, customer_id)
        row = here.page.locator("tr", has_text="TS-01")
        hidden = row.get_by_text("history")
        for where in (row.locator("summary"), row.get_by_text("TS-01"), row.locator("th")):
            expect(hidden).to_be_hidden()
            where.dblclick()
            expect(hidden).to_be_visible()
            where.dblclick()
        expect(hidden).to_be_hidden()
        assert here.complaints == []


def test_the_live_view_follows_what_happens(stack: Stack, browser: Browser, tmp_path: Path, customer_id: str) -> None:
    seat(stack, customer_id, "zoe")
    with visitor(browser, stack.sites[0].url, tmp_path) as here:
        here.page.clock.install()
        open_pool(here, customer_id)
        page = here.page
        zoe = page.locator("tr", has_text="zoe")
        zoe.locator("summary").press("Enter")
        modules = zoe.get_by_text("history")
        expect(modules).to_be_visible()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))

        # While the page is hidden nothing is asked for; in sight again it is up to date at once.
        page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
        seat(stack, customer_id, "ana")
        page.clock.run_for(60_000)
        assert asked == []
        page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
        expect(page.locator("tr", has_text="ana")).to_be_visible()
        expect(page.locator("dl").get_by_text("2", exact=True)).to_be_visible()
        expect(modules).to_be_visible()
        expect(zoe.locator("summary")).to_be_focused()

        # The row that is read stays where it is, whoever comes in above it.
        page.set_viewport_size({"width": 800, "height": 300})
        zoe.evaluate("row => row.scrollIntoView()")
        before = zoe.bounding_box()
        for name, anchoring in (("eva", "auto"), ("fay", "none")):  # not all browsers keep the place by themselves
            page.evaluate("kind => document.documentElement.style.overflowAnchor = kind", anchoring)
            seat(stack, customer_id, name)
            page.clock.run_for(10_000)
            expect(page.locator("tr", has_text=name)).to_have_count(1)
            assert zoe.bounding_box() == before
        assert page.evaluate("scrollY") > 0
        expect(zoe.locator("summary")).to_be_focused()
        expect(modules).to_be_visible()

        # Who signed out elsewhere is not asked for over and over.
        page.context.clear_cookies()
        page.clock.run_for(10_000)
        page.wait_for_load_state("networkidle")
        asked.clear()
        page.clock.run_for(60_000)
        assert asked == []
        expect(zoe).to_be_visible()
        assert here.complaints == []


def test_long_names_leave_what_is_to_be_done_in_sight(
    stack: Stack, browser: Browser, tmp_path: Path, customer_id: str
) -> None:
    for name in ("a", "b"):
        seat(stack, customer_id, name * 128, session="s" * 128, user_code="U" * 64, terminal="T" * 128)
    seat(stack, customer_id, "ana")
    with visitor(browser, stack.sites[0].url, tmp_path) as here:
        open_pool(here, customer_id)
        for width in (1280, 390):
            here.page.set_viewport_size({"width": width, "height": 900})
            for button in here.page.get_by_role("button", name="Release the seat of").all():
                box = button.bounding_box()
                assert box
                assert box["x"] + box["width"] <= width
                assert box["height"] < 60
            assert here.page.locator("#who .scroll").first.evaluate("each => each.scrollWidth <= each.clientWidth")
        here.look("pool-long-names")
        assert here.complaints == []


def test_a_seat_is_freed_without_script(stack: Stack, browser: Browser, tmp_path: Path, customer_id: str) -> None:
    seat(stack, customer_id, "ana")
    with visitor(browser, stack.sites[0].url, tmp_path, script=False) as here:
        open_pool(here, customer_id)
        here.page.get_by_role("button", name="Release the seat of ana").press("Enter")
        expect(here.page.get_by_role("status")).to_have_text("The seat is free.")


def test_the_vendor_issues_a_key(stack: Stack, browser: Browser, tmp_path: Path, customer_id: str) -> None:
    with visitor(browser, stack.sites[0].url, tmp_path, dark=True) as here:
        here.sign_in(MARTA)
        here.go(f"/portal/customers/{customer_id}/keys/new")
        here.look("key-new")
        here.page.fill("#concurrent", "web-chat 12")
        here.page.get_by_role("button", name="Issue the key").click()
        expect(here.page.get_by_role("status")).to_have_text("The key is issued. Download it, or copy its text.")
        with here.page.expect_download() as download:
            here.page.get_by_role("link", name="Download").first.click()
        assert "BEGIN ACTIVATION KEY" in download.value.path().read_text(encoding="utf-8")
        here.look("keys-vendor")
        assert here.complaints == []
