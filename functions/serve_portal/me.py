"""My info: name, language, e-mails, password."""

from typing import get_args

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter
from licensing import languages, people
from licensing.errors import LicensingError, PasswordRefused, SignInFailed, TooManyRequests
from licensing.http.pages import Visit, explain, form, page, see_other, visit
from licensing.rules.people import Notification
from licensing.texts import mark

from functions.serve_portal import forms
from functions.serve_portal.sign_in import check_repeated

router = APIGatewayHttpRouter()  # type: ignore[no-untyped-call]


class _Wrong(SignInFailed):
    """Raised when the current password is not right."""

    detail = mark("The current password is not right.")


@router.get("/portal/me")
def show() -> Response[str]:
    """The forms."""
    return _show(visit(router))


def _show(here: Visit, error: LicensingError | None = None) -> Response[str]:
    user = here.signed_in
    facts = {"error": explain(here.language, error)} if error else {}
    return page(here, "me", error.status if error else 200, me=user, language_names=forms.languages(), **facts)


@router.post("/portal/me")
def change() -> Response[str]:
    """Save name, language, e-mails."""
    here = visit(router)
    user, fields = here.signed_in, form(here)
    name, tag = fields.get("name", "")[:128], fields.get("language", "")
    if not name or not name.isprintable():
        return _show(here, forms.FormInvalid(field=here.language.text(forms.LABELS["name"])))
    unsubscribed = tuple(each for each in get_args(Notification) if fields.get(f"mail:{each}") != "yes")
    language = tag if tag in languages.LANGUAGES else None
    people.change_profile(user, here.by, here.now, name=name, language=language, unsubscribed=unsubscribed)
    return see_other(here, "/portal/me", "saved")


@router.post("/portal/me/password")
def change_password() -> Response[str]:
    """Replace the password; this browser goes on in a new session, all others are signed out."""
    here = visit(router)
    user, fields = here.signed_in, form(here)
    current, password = fields.get("current_password", ""), fields.get("password", "")
    try:
        check_repeated(password, fields)
        changed = people.change_password(user, current, password, here.by, here.now)
    except SignInFailed:
        return _show(here, _Wrong())
    except (PasswordRefused, TooManyRequests) as error:
        return _show(here, error)
    here.set_session(people.begin_session(changed, here.now))
    return see_other(here, "/portal/me", "password-changed")
