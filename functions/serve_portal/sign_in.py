"""Signing in and out, invitations, registration, passwords."""

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter
from licensing import identity, people
from licensing.errors import LicensingError, PasswordRefused, SignInFailed, TooManyRequests
from licensing.http.pages import Visit, explain, form, page, see_other, visit
from licensing.rules.people import User
from licensing.store import people as store
from licensing.texts import mark

router = APIGatewayHttpRouter()  # type: ignore[no-untyped-call]


@router.get("/portal")
def home() -> Response[str]:
    """To where a user's work is."""
    here = visit(router)
    return see_other(here, _home(here.signed_in))


def _home(user: User) -> str:
    return f"/portal/customers/{user.organization}" if user.kind == "customer" else "/portal/customers"


@router.get("/portal/login")
def login() -> Response[str]:
    """The form."""
    here = visit(router)
    if here.user:
        return see_other(here, _home(here.user))
    return page(here, "login", email="", next=here.query("next"), unsaved=here.query("unsaved"))


@router.post("/portal/login")
def sign_in() -> Response[str]:
    """Begin a session, under a secret that nobody knew before."""
    here = visit(router)
    fields = form(here)
    email, onward = fields.get("email", ""), fields.get("next", "")
    try:
        secret = people.sign_in(email, fields.get("password", ""), here.now)
    except (SignInFailed, TooManyRequests) as error:
        told = explain(here.language, error)
        return page(here, "login", error.status, email=email, next=onward, unsaved="", error=told)
    here.set_session(secret)
    return see_other(here, onward if _is_ours(onward) else "/portal")


def _is_ours(path: str) -> bool:
    return path.startswith("/portal/") and path.isascii() and path.isprintable() and "\\" not in path


@router.post("/portal/logout")
def sign_out() -> Response[str]:
    """End the session."""
    here = visit(router)
    form(here)
    store.delete_session(here.secret)
    here.set_session(identity.new_secret())
    return see_other(here, "/portal/login", "signed-out")


@router.get("/portal/register")
def register() -> Response[str]:
    """The form."""
    return page(visit(router), "ask_link", kind="register", sent=False, email="")


@router.post("/portal/register")
def send_registration() -> Response[str]:
    """The same answer for every address."""
    here = visit(router)
    return _ask_link(here, "register", form(here).get("email", ""))


@router.get("/portal/reset")
def reset() -> Response[str]:
    """The form."""
    return page(visit(router), "ask_link", kind="reset", sent=False, email="")


@router.post("/portal/reset")
def send_reset() -> Response[str]:
    """The same answer for every address."""
    here = visit(router)
    return _ask_link(here, "reset", form(here).get("email", ""))


def _ask_link(here: Visit, kind: str, email: str) -> Response[str]:
    try:
        (people.register if kind == "register" else people.request_reset)(email, here.now)
    except TooManyRequests as error:
        text = explain(here.language, error)
        return page(here, "ask_link", error.status, kind=kind, sent=False, email=email, error=text)
    return page(here, "ask_link", kind=kind, sent=True, email=email)


@router.get("/portal/invitations/<secret>")
def invitation(secret: str) -> Response[str]:
    """What the link in an invitation shows; it changes nothing."""
    here = visit(router)
    found = people.find_invitation(secret, here.now)
    return page(here, "choose_password", email=found.email, name=found.name, ask_name=True)


@router.post("/portal/invitations/<secret>")
def accept(secret: str) -> Response[str]:
    """Make the account, and sign in."""
    here = visit(router)
    fields = form(here)
    found = people.find_invitation(secret, here.now)
    name, password = fields.get("name", "")[:128], fields.get("password", "")
    try:
        check_repeated(password, fields)
        user = people.accept(secret, name or found.email, password, here.language.tag, here.by, here.now)
    except PasswordRefused as error:
        return _choose_again(here, error, email=found.email, name=name, ask_name=True)
    return _go_on(here, user)


@router.get("/portal/reset/<secret>")
def new_password(secret: str) -> Response[str]:
    """What the link in a reset shows; it changes nothing."""
    here = visit(router)
    user = people.find_reset(secret, here.now)
    return page(here, "choose_password", email=user.email, name=user.name, ask_name=False)


@router.post("/portal/reset/<secret>")
def set_password(secret: str) -> Response[str]:
    """Replace the password, and sign in."""
    here = visit(router)
    fields = form(here)
    user = people.find_reset(secret, here.now)
    try:
        check_repeated(fields.get("password", ""), fields)
        user = people.reset_password(secret, fields.get("password", ""), here.by, here.now)
    except PasswordRefused as error:
        return _choose_again(here, error, email=user.email, name=user.name, ask_name=False)
    return _go_on(here, user)


class _NotRepeated(PasswordRefused):
    """Raised when the two passwords differ."""

    detail = mark("The two passwords are not the same.")


def check_repeated(password: str, fields: dict[str, str]) -> None:
    """Both times the same. Raises PasswordRefused."""
    if password != fields.get("password_again"):
        raise _NotRepeated


def _choose_again(here: Visit, error: LicensingError, **facts: object) -> Response[str]:
    return page(here, "choose_password", error.status, error=explain(here.language, error), **facts)


def _go_on(here: Visit, user: User) -> Response[str]:
    here.set_session(people.begin_session(user, here.now))
    return see_other(here, "/portal")
