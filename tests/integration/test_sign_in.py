"""Sessions, passwords, and the pages' armor."""

import html
import re

import pytest
from licensing import administration, user_pool
from licensing.errors import TemporarilyUnavailable
from licensing.store import people as people_store
from licensing.store.people import SessionItem

from infra.local.users import PASSWORD
from tests.integration.test_failures import faults
from tests.support.cloud import TAX_ID, VENDOR, Cloud
from tests.support.visitor import GIULIA, MARTA, Visitor, links, signed_in

#: Differs from page to page, and says nothing.
_VARYING = re.compile(r'value="[^"]*"')


def without_values(page: str) -> str:
    return _VARYING.sub("", page)


# ── signing in ──


def test_who_signs_in_is_led_to_their_work(cloud: Cloud) -> None:
    visitor = Visitor(cloud)
    answer = visitor.sign_in(MARTA)
    assert (answer.status_code, answer.headers["location"]) == (303, "/portal")
    assert visitor.get("/portal").headers["location"] == "/portal/customers"
    assert visitor.get("/portal/customers").status_code == 200
    assert visitor.get("/portal/login").headers["location"] == "/portal/customers"


def test_signing_in_succeeds_though_an_answer_of_the_table_s_is_lost(cloud: Cloud) -> None:
    with faults(cloud, "dynamodb", "timeout_after", "PutItem", times=1) as hit:
        assert Visitor(cloud).sign_in(MARTA).status_code == 303
    assert hit


def test_a_wrong_password_and_an_unknown_user_look_the_same(cloud: Cloud) -> None:
    wrong, unknown, none = Visitor(cloud), Visitor(cloud), Visitor(cloud)
    answers = [
        wrong.sign_in(GIULIA, "not her password"),
        unknown.sign_in("nobody@example.com", PASSWORD),
        none.sign_in("no address at all", PASSWORD),
    ]
    assert [each.status_code for each in answers] == [403, 403, 403]
    assert len({without_values(each.text) for each in answers}) == 1
    assert wrong.get("/portal/me").status_code == 303


@pytest.mark.parametrize("password", ["", "x" * 300, "p" * 5000], ids=["none", "long", "very long"])
def test_a_password_that_nobody_can_have_is_just_wrong(cloud: Cloud, password: str) -> None:
    assert Visitor(cloud).sign_in(GIULIA, password).status_code == 403


@pytest.mark.parametrize(
    "email", ["x" * 3000 + "@example.com", "a@b", "giulia ferrario@x.example", "ß@example.com", ""]
)
def test_an_address_that_nobody_can_have_is_just_wrong(cloud: Cloud, email: str) -> None:
    assert Visitor(cloud).sign_in(email).status_code == 403


def test_guessing_is_limited_known_or_not_and_whatever_the_spelling(cloud: Cloud) -> None:
    for email in (GIULIA, "nobody@example.com"):
        visitor = Visitor(cloud)
        statuses = [visitor.sign_in(each, "wrong password").status_code for each in (email, email.upper()) * 6]
        assert statuses == [403] * 10 + [429] * 2
        assert "Try again in" in visitor.page
        assert visitor.sign_in(email).status_code == 429


def test_the_session_s_secret_changes_at_sign_in(cloud: Cloud) -> None:
    visitor = Visitor(cloud)
    visitor.get("/portal/login")
    before = visitor.cookie
    visitor.sign_in(GIULIA)
    assert before
    assert visitor.cookie != before
    planted = Visitor(cloud, cookie=before)
    assert planted.get("/portal/me").status_code == 303


def test_a_planted_cookie_does_not_survive_signing_in(cloud: Cloud) -> None:
    visitor = Visitor(cloud, cookie="plantedbyanattacker")
    visitor.sign_in(GIULIA)
    assert visitor.cookie != "plantedbyanattacker"


def test_signing_out_ends_the_session_on_our_side(cloud: Cloud) -> None:
    visitor = signed_in(cloud, GIULIA)
    thief = Visitor(cloud, cookie=visitor.cookie)
    assert thief.get("/portal/me").status_code == 200
    assert visitor.post("/portal/logout").status_code == 303
    assert thief.get("/portal/me").status_code == 303
    assert visitor.cookie
    assert len(visitor.cookie) == 32  # nobody knows the next one either


def test_a_session_ends_after_twelve_hours(cloud: Cloud) -> None:
    visitor = signed_in(cloud, GIULIA)
    cloud.http.post(visitor.origin + "/local/clock", json={"advance_seconds": 12 * 3600 - 60})
    assert visitor.get("/portal/me").status_code == 200
    cloud.http.post(visitor.origin + "/local/clock", json={"advance_seconds": 120})
    assert visitor.get("/portal/me").status_code == 303


def test_session_secrets_are_kept_as_digests(cloud: Cloud) -> None:
    visitor = signed_in(cloud, GIULIA)
    kept = [item for item in SessionItem.scan() if item.pk.startswith("SESSION#")]
    assert kept
    assert visitor.cookie
    assert all(visitor.cookie not in item.pk for item in kept)


def test_who_is_not_signed_in_is_led_back_to_what_was_asked_for(cloud: Cloud) -> None:
    visitor = Visitor(cloud)
    location = visitor.get("/portal/customers?search=officine").headers["location"]
    assert location == "/portal/login?next=%2Fportal%2Fcustomers%3Fsearch%3Dofficine"
    visitor.get(location)
    answer = visitor.post(
        "/portal/login", {"email": MARTA, "password": PASSWORD, "next": "/portal/customers?search=officine"}
    )
    assert answer.headers["location"] == "/portal/customers?search=officine"


def test_who_sends_a_form_after_the_session_has_ended_is_told_and_led_back_to_its_page(cloud: Cloud) -> None:
    visitor = signed_in(cloud, GIULIA)
    customer = f"/portal/customers/{administration.find_account(TAX_ID).customer.customer_id}"
    cloud.http.post(visitor.origin + "/local/clock", json={"advance_seconds": 13 * 3600})
    sent = visitor.post(f"{customer}/allocations?after=ins_1", {"row-0": "x"})
    visitor.get(sent.headers["location"])
    assert "Nothing was saved" in visitor.page
    onward = html.unescape(re.findall('name="next" value="([^"]*)"', visitor.page)[0])
    answer = visitor.post("/portal/login", {"email": GIULIA, "password": PASSWORD, "next": onward})
    answer = visitor.get(answer.headers["location"])
    assert answer.headers["location"] == f"{customer}?after=ins_1"
    assert visitor.get(answer.headers["location"]).status_code == 200
    assert visitor.get(f"{customer}/explode").status_code == 404


@pytest.mark.parametrize(
    "onward",
    ["https://evil.example/", "//evil.example/", "/\\evil.example", "\\\\evil.example", "/portal\\evil", "javascript:alert(1)",
     "/portal/\r\nSet-Cookie: a=b", "/local/users", "portal/customers", "/portal/cus\u2028tomers"],
)  # fmt: skip
def test_signing_in_leads_nowhere_else(cloud: Cloud, onward: str) -> None:
    visitor = Visitor(cloud)
    visitor.get("/portal/login")
    answer = visitor.post("/portal/login", {"email": MARTA, "password": PASSWORD, "next": onward})
    assert answer.headers["location"] == "/portal"


# ── passwords ──


def test_a_new_password_ends_all_other_sessions_and_this_one_goes_on(cloud: Cloud) -> None:
    here, elsewhere = signed_in(cloud, GIULIA), signed_in(cloud, GIULIA)
    new = "a better password"
    answer = here.submit(
        "/portal/me", "/portal/me/password", current_password=PASSWORD, password=new, password_again=new
    )  # fmt: skip
    assert answer.headers["location"] == "/portal/me?done=password-changed"
    assert here.get("/portal/me").status_code == 200
    assert elsewhere.get("/portal/me").status_code == 303
    assert Visitor(cloud).sign_in(GIULIA).status_code == 403
    assert Visitor(cloud).sign_in(GIULIA, new).status_code == 303


@pytest.mark.parametrize(
    ("current", "new", "again", "says"),
    [
        ("wrong password", "a better password", "a better password", "The current password is not right."),
        (PASSWORD, "short", "short", "at least 12 characters"),
        (PASSWORD, "a better password", "another password", "not the same"),
        (PASSWORD, "x" * 300, "x" * 300, "at least 12 characters"),
    ],
)
def test_a_password_is_not_changed_by_mistake(cloud: Cloud, current: str, new: str, again: str, says: str) -> None:
    visitor = signed_in(cloud, GIULIA)
    answer = visitor.post(
        "/portal/me/password", {"current_password": current, "password": new, "password_again": again}
    )
    assert answer.status_code in (403, 422)
    assert says in answer.text
    assert Visitor(cloud).sign_in(GIULIA).status_code == 303


def test_a_changed_profile_does_not_bring_back_sessions_that_a_new_password_ended(cloud: Cloud) -> None:
    from licensing import people
    from licensing.store import people as store

    other = signed_in(cloud, GIULIA)
    read_before = store.find_by_email(GIULIA)
    assert read_before
    visitor = signed_in(cloud, GIULIA)
    new = "a better password"
    visitor.post("/portal/me/password", {"current_password": PASSWORD, "password": new, "password_again": new})
    people.change_profile(read_before, VENDOR, cloud.now, name="Giulia F.", language="it", unsubscribed=())
    assert other.get("/portal/me").status_code == 303
    assert visitor.get("/portal/me").status_code == 200


def test_a_reset_is_mailed_once_good_for_an_hour_used_once_and_ends_all_sessions(cloud: Cloud) -> None:
    old = signed_in(cloud, GIULIA)
    visitor = Visitor(cloud)
    visitor.submit("/portal/reset", email=GIULIA.upper())
    [(to, _, path)] = links(cloud)
    assert to == GIULIA
    assert visitor.get(path).status_code == 200
    new = "chosen from a link"
    assert visitor.post(path, {"password": new, "password_again": new}).headers["location"] == "/portal"
    assert visitor.get("/portal/me").status_code == 200
    assert old.get("/portal/me").status_code == 303
    assert visitor.get(path).status_code == 404
    assert Visitor(cloud).sign_in(GIULIA, new).status_code == 303


@pytest.mark.parametrize("dies_at", ["AdminSetUserPassword", "AdminUserGlobalSignOut"])
def test_a_change_of_password_that_dies_leaves_no_other_session_and_can_be_done_again(
    cloud: Cloud, dies_at: str
) -> None:
    thief, visitor, new = signed_in(cloud, GIULIA), signed_in(cloud, GIULIA), "a better password"
    fields = {"current_password": PASSWORD, "password": new, "password_again": new}
    with faults(cloud, "cognito-identity-provider", "throttle", dies_at) as hit:
        assert visitor.post("/portal/me/password", fields).status_code == 503
    assert hit
    assert thief.get("/portal/me").status_code == 303
    again = Visitor(cloud)
    current = PASSWORD if dies_at == "AdminSetUserPassword" else new
    assert again.sign_in(GIULIA, current).status_code == 303
    assert (
        again.submit("/portal/me", "/portal/me/password", **fields | {"current_password": current}).status_code == 303
    )
    assert Visitor(cloud).sign_in(GIULIA, new).status_code == 303


def test_a_change_of_password_that_cannot_end_the_sessions_changes_nothing(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(transaction: object, user: object) -> None:
        raise TemporarilyUnavailable

    visitor, new = signed_in(cloud, GIULIA), "a better password"
    with monkeypatch.context() as patched:
        patched.setattr(people_store, "put_in", dies)
        fields = {"current_password": PASSWORD, "password": new, "password_again": new}
        assert visitor.post("/portal/me/password", fields).status_code == 503
    assert visitor.post("/portal/me/password", fields).status_code == 303


@pytest.mark.parametrize("dies_at", ["AdminCreateUser", "AdminSetUserPassword", "AdminUserGlobalSignOut"])
def test_a_reset_that_dies_leaves_no_session(cloud: Cloud, dies_at: str) -> None:
    thief, visitor, new = signed_in(cloud, GIULIA), Visitor(cloud), "a better password"
    visitor.submit("/portal/reset", email=GIULIA)
    path = links(cloud)[0][2]
    visitor.get(path)
    with faults(cloud, "cognito-identity-provider", "throttle", dies_at) as hit:
        assert visitor.post(path, {"password": new, "password_again": new}).status_code == 503
    assert hit
    assert thief.get("/portal/me").status_code == 303
    if dies_at != "AdminUserGlobalSignOut":
        assert Visitor(cloud).submit(path, password=new, password_again=new).status_code == 303
    assert Visitor(cloud).sign_in(GIULIA, new).status_code == 303


def test_a_reset_makes_an_account_again_that_the_user_pool_lost(cloud: Cloud) -> None:
    user_pool.delete_user(GIULIA)
    visitor, new = Visitor(cloud), "a better password"
    visitor.submit("/portal/reset", email=GIULIA)
    path = links(cloud)[0][2]
    visitor.get(path)
    assert visitor.post(path, {"password": new, "password_again": new}).status_code == 303
    assert Visitor(cloud).sign_in(GIULIA, new).status_code == 303


def test_a_reset_link_ends_after_an_hour(cloud: Cloud) -> None:
    visitor = Visitor(cloud)
    visitor.submit("/portal/reset", email=GIULIA)
    [(_, _, path)] = links(cloud)
    cloud.http.post(visitor.origin + "/local/clock", json={"advance_seconds": 3601})
    assert visitor.get(path).status_code == 404


@pytest.mark.parametrize("kind", ["reset", "register"])
def test_asking_for_a_link_tells_nothing_about_an_address(cloud: Cloud, kind: str) -> None:
    pages = []
    for email in (GIULIA, "nobody@example.com"):
        answer = Visitor(cloud).submit(f"/portal/{kind}", email=email)
        pages.append((answer.status_code, answer.text.replace(email, "")))
    assert pages[0] == pages[1]
    assert all(to == GIULIA for to, _, _ in links(cloud))


@pytest.mark.parametrize("kind", ["reset", "register"])
def test_links_by_mail_are_limited_for_known_and_unknown_addresses(cloud: Cloud, kind: str) -> None:
    for email in (GIULIA, "nobody@example.com"):
        statuses = [Visitor(cloud).submit(f"/portal/{kind}", email=email).status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]


# ── forms ──

FORMS = ["/portal/login", "/portal/register", "/portal/reset", "/portal/logout", "/portal/me", "/portal/me/password"]


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("token", ["", "0" * 64, "another session's", "of before signing in"])
def test_a_form_without_its_session_s_token_changes_nothing(cloud: Cloud, path: str, token: str) -> None:
    visitor = Visitor(cloud)
    visitor.get("/portal/login")
    if token == "of before signing in":
        token = visitor.form_token
    elif token:
        token = signed_in(cloud, MARTA).form_token if "session" in token else token
    visitor = signed_in(cloud, GIULIA)
    assert visitor.post(path, {"form_token": token, "email": GIULIA, "password": PASSWORD}).status_code == 403
    assert visitor.get("/portal/me").status_code == 200
    assert not links(cloud)


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://127.0.0.1.evil.example"]
)
def test_a_form_from_another_origin_changes_nothing(cloud: Cloud, path: str, origin: str) -> None:
    visitor = signed_in(cloud, GIULIA)
    answer = visitor.post(path, {"email": GIULIA, "password": PASSWORD}, origin=origin)
    assert answer.status_code == 403
    assert visitor.get("/portal/me").status_code == 200


def test_signing_somebody_in_as_somebody_else_needs_their_form(cloud: Cloud) -> None:
    attacker = Visitor(cloud)
    attacker.get("/portal/login")
    victim = Visitor(cloud)
    victim.get("/portal/login")
    answer = victim.post("/portal/login", {"form_token": attacker.form_token, "email": MARTA, "password": PASSWORD})
    assert answer.status_code == 403
    assert victim.get("/portal/me").status_code == 303


@pytest.mark.parametrize("path", ["people/{}", "invitations/{}"])
def test_a_name_in_a_path_that_is_longer_than_any_is_not_looked_up(cloud: Cloud, path: str) -> None:
    """DynamoDB refuses keys of more than 1,024 bytes."""
    visitor = signed_in(cloud, GIULIA)
    base, long = visitor.get("/portal").headers["location"], "x" * 513
    visitor.get(f"{base}/people")
    asked: list[str] = []
    cloud.stack.aws.interceptor = lambda event, request: asked.append(str(request.body))
    try:
        assert visitor.post(f"{base}/{path.format(long)}", {"do": "remove"}).status_code == 404
    finally:
        cloud.stack.aws.interceptor = None
    assert not any(long in each for each in asked)


@pytest.mark.parametrize(
    "content", ["", "a", "&" * 5000, "x=" + "y" * 300_000, "a=b&" * 5000, "%ff=%ff", "form_token=%00"]
)
def test_a_form_that_no_page_of_ours_sends(cloud: Cloud, content: str) -> None:
    visitor = Visitor(cloud)
    visitor.get("/portal/login")
    headers = {"content-type": "application/x-www-form-urlencoded", "cookie": f"__Host-session={visitor.cookie}"}
    answer = cloud.http.post(visitor.origin + "/portal/login", content=content, headers=headers)
    assert answer.status_code in (403, 413)
    assert "<h1>" in answer.text


def test_a_form_that_is_not_utf_8(cloud: Cloud) -> None:
    visitor = Visitor(cloud)
    answer = cloud.http.post(visitor.origin + "/portal/login", content=b"\xff\xfe\x00")
    assert answer.status_code == 403


# ── armor ──


def test_the_session_cookie_is_out_of_reach(cloud: Cloud) -> None:
    visitor = Visitor(cloud)
    visitor.sign_in(GIULIA)
    [cookie] = visitor.set_cookies
    name, *attributes = re.split(r"=|; ", cookie, maxsplit=1)
    assert name == "__Host-session"
    given = {each.lower() for each in attributes[0].split("; ")[1:]}
    assert given == {"path=/", "httponly", "secure", "samesite=lax"}  # and no domain


@pytest.mark.parametrize(
    "path", ["/portal/login", "/portal/register", "/portal/nothing", "/portal/invitations/x", "/portal"]
)
def test_every_page_carries_the_same_armor(cloud: Cloud, path: str) -> None:
    answer = Visitor(cloud).get(path)
    policy = dict(each.split(" ", 1) for each in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["referrer-policy"] == "strict-origin"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "max-age" in answer.headers["strict-transport-security"]


def test_nothing_is_inline(cloud: Cloud) -> None:
    visitor = signed_in(cloud, MARTA)
    for path in ("/portal/login", "/portal/me", "/portal/customers", "/portal/customers/new", "/portal/renewals"):
        page = visitor.get(path).text or visitor.page
        assert not re.search(r"\sstyle=|\son\w+=|<style|<script(?![^>]* src=)|javascript:", page), path


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80"])
def test_a_made_up_host_appears_nowhere(cloud: Cloud, host: str) -> None:
    answer = Visitor(cloud).get("/portal/reset", host=host)
    assert "evil.example" not in answer.text
    assert "evil.example" not in str(answer.headers)
    visitor = Visitor(cloud)
    visitor.get("/portal/reset")
    visitor.post("/portal/reset", {"email": GIULIA}, host=host, origin=f"http://{host}")
    assert all("evil.example" not in mail["text"] for mail in cloud.get("/local/outbox").json()["items"])


@pytest.mark.parametrize(
    "name",
    ["...", "%2e%2e", "..%2f..%2ferrors.py", "..%5cerrors.py", "/etc/passwd", "..%2fpeople.py", "style.css%00.py", "style",
     ".css", "../people.py", "%252e%252e%252fpeople.py"],
)  # fmt: skip
def test_only_static_files_are_static_files(cloud: Cloud, name: str) -> None:
    answer = cloud.http.get(cloud.stack.sites[0].url + "/portal/static/" + name)
    assert answer.status_code == 404
    assert "import" not in answer.text


def test_static_files_are_kept_by_browsers_and_change_their_address_with_their_content(cloud: Cloud) -> None:
    page = Visitor(cloud).get("/portal/login").text
    addresses = re.findall(r'"(/portal/static/[^"]+)"', page)
    assert len(addresses) == 3
    for address in addresses:
        answer = cloud.http.get(cloud.stack.sites[0].url + address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_markup_in_names_is_text(cloud: Cloud) -> None:
    visitor = signed_in(cloud, MARTA)
    visitor.post("/portal/me", {"name": "<script>alert(1)</script>\"'", "language": "en"})
    page = visitor.get("/portal/me").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;" in page
    page = visitor.get("/portal/customers?search=%22%3E%3Cscript%3Ealert(2)%3C/script%3E").text
    assert "<script>alert" not in page


def test_trouble_behind_us_is_a_page_too(cloud: Cloud) -> None:
    visitor = signed_in(cloud, MARTA)
    from licensing.store import vendor

    vendor.forget()
    with faults(cloud, "dynamodb", "timeout_before"):
        answer = visitor.get("/portal/customers")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert "<h1>" in answer.text
    with faults(cloud, "cognito-identity-provider", "throttle") as hit:
        answer = Visitor(cloud).sign_in(GIULIA)
    assert hit
    assert answer.status_code == 503


def test_a_page_that_is_not_there_says_so(cloud: Cloud) -> None:
    answer = Visitor(cloud).get("/portal/what")
    assert answer.status_code == 404
    assert "NOT_FOUND" in answer.text


def test_the_backup_site_leads_to_the_portal_and_looks_like_it(cloud: Cloud) -> None:
    visitor = Visitor(cloud, site=1)
    for path in ("/portal", "/portal/login", "/portal/customers"):
        answer = visitor.get(path)
        assert answer.status_code == 503
        assert f'href="{cloud.stack.sites[0].url}/portal"' in answer.text
        assert not visitor.set_cookies
    style = re.search(r'"(/portal/static/style[^"]+)"', visitor.page)
    assert style
    assert visitor.get(style[1]).status_code == 200
    assert visitor.post("/portal/login", {"email": GIULIA, "password": PASSWORD}).status_code == 503


def test_pages_speak_the_language_of_the_person_else_of_the_browser(cloud: Cloud) -> None:
    assert 'lang="sv"' in Visitor(cloud, language="sv,en;q=0.5").get("/portal/login").text
    visitor = signed_in(cloud, GIULIA)
    visitor.post("/portal/me", {"name": "Giulia Ferrario", "language": "it"})
    assert 'lang="it"' in visitor.get("/portal/me").text
