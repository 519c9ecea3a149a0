"""``cloud-licensing``: what the vendor does to its deployment from a command line.

It talks to AWS with the caller's own credentials, so what it may do is what they may do. ``AWS_ENDPOINT_URL`` points it
at another endpoint, for example the local stack's.
"""

import getpass
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import boto3
import typer
import yaml
from botocore.exceptions import BotoCoreError, ClientError
from licensing.errors import LicensingError, TemporarilyUnavailable
from licensing.rules.accounts import AccountError
from licensing.rules.heartbeat import rung, silent_days
from licensing.rules.key_set import KeySet, RotationError
from licensing.rules.operations import Origin
from licensing.rules.retention import RetentionError
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table

if TYPE_CHECKING:
    from licensing.loading import LoadReport
    from licensing.orders import Found
    from licensing.rules.accounts import Account
    from licensing.rules.people import User

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, rich_markup_mode=None)
customers = typer.Typer(no_args_is_help=True, help="Customers and their activation windows.")
installations = typer.Typer(no_args_is_help=True, help="Installations: tokens, release, disable, clones.")
users = typer.Typer(no_args_is_help=True, help="Who may sign in: the vendor's people, anybody's, programs.")
keys = typer.Typer(no_args_is_help=True, help="Signing keys: publish, switch, and go on verifying.")
app.add_typer(customers, name="customers")
app.add_typer(installations, name="installations")
app.add_typer(users, name="users")
orders = typer.Typer(no_args_is_help=True, help="Orders: load, look, send again, cancel.")
app.add_typer(orders, name="orders")
activation_keys = typer.Typer(no_args_is_help=True, help="Activation keys of groups: issue, list, show.")
app.add_typer(activation_keys, name="activation-keys")
log = typer.Typer(no_args_is_help=True, help="The operation log: show, export, verify, retention, cleanup, redrive.")
app.add_typer(keys, name="keys")
app.add_typer(log, name="log")

out = Console()
err = Console(stderr=True)


class Signing(StrEnum):
    """Where signing keys live."""

    KMS = "kms"
    SECRET = "secret"  # noqa: S105  the name of a place


class LogFormat(StrEnum):
    """How the operation log is exported."""

    CSV = "csv"
    JSONL = "jsonl"


class KeyUse(StrEnum):
    """What a key signs."""

    SERVER = "server"
    FILE = "file"
    SEAL = "seal"
    KEY = "key"
    SEAT = "seat"


_SIGNED = {
    "server": "server tokens",
    "file": "license files of offline servers",
    "seal": "the operation log's seals",
    "key": "activation keys",
    "seat": "borrowed seats",
}

TaxId = Annotated[str, typer.Argument(help="The customer's tax id, for example IT00743110157.")]
Name = Annotated[str, typer.Argument(help="The installation's name or id.")]
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="A YAML or JSON file.")]
Kid = Annotated[str, typer.Argument(help="The key's id, as `keys list` shows it.")]
Root = Annotated[
    str, typer.Option(envvar="ROOT_KEY", help="The root key: kms:<key id or arn>, or file:<path of a PEM>.")
]
NewSigner = Annotated[
    Signing, typer.Option(help="Where the new key lives: in KMS, or as a PEM in the deployment's secret.")
]
ReplicaRegion = Annotated[
    str | None, typer.Option(envvar="BACKUP_REGION", help="Site 2's region: the key in KMS is replicated there.")
]


@app.callback()
def main(
    deployment: Annotated[str, typer.Option(help="The deployment's name; its tables begin with it.")] = "licensing",
    issuer: Annotated[str, typer.Option(envvar="ISSUER", help="The issuer in tokens and key sets.")] = "",
) -> None:
    """Choose the deployment. Tables and loggers are named when the library is imported, so this comes first."""
    os.environ.setdefault("LICENSING_TABLE", f"{deployment}-Licensing")
    os.environ.setdefault("STATE_TABLE", f"{deployment}-State")
    os.environ.setdefault("OPERATIONS_TABLE", f"{deployment}-Operations")
    os.environ.setdefault("SITE", "primary")  # where the operator's changes are made, and logged
    os.environ.setdefault("HOME_SITE", "true")
    os.environ.setdefault("SEATS_TABLE", f"{deployment}-Seats")
    os.environ["ISSUER"] = issuer
    os.environ["DEPLOYMENT"] = deployment
    os.environ.setdefault("POWERTOOLS_LOG_LEVEL", "CRITICAL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not region:
        _fail("Say which region: set AWS_REGION.")
    os.environ["AWS_REGION"] = os.environ["AWS_DEFAULT_REGION"] = str(region)


def _fail(*lines: str) -> None:
    for line in lines:
        err.print(line, markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(1)


def _say(text: str) -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=True)


def _table(*columns: str) -> Table:
    """A table whose cells can be copied: where the terminal is narrow, or a pipe, lines are long and nothing is cut."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True, min_width=len(column))
    return table


def _show(table: Table) -> None:
    Console(width=max(out.width, 1000)).print(table, soft_wrap=True)


@contextmanager
def _told() -> Iterator[None]:
    """Errors as sentences, exit code 1."""
    from licensing.loading import LoadError
    from licensing.store.tables import ConditionFailed

    try:
        yield
    except LoadError as error:
        _report(error.report)
        _fail(*error.lines)
    except ConditionFailed:
        _fail("Somebody else changed this at the same moment. Look again, and repeat if it is still needed.")
    except TemporarilyUnavailable as error:
        _fail(f"AWS can't do this: {error.__cause__ or error.detail}")
    except LicensingError as error:
        detail = error.detail.format_map({"retry_after": error.retry_after, **error.members})
        _fail(detail if error.code != "NOT_FOUND" else "There is no such customer, installation or order.")
    except (RotationError, AccountError, RetentionError, ValueError, OSError) as error:
        _fail(str(error))
    except (ClientError, BotoCoreError) as error:
        _fail(f"AWS: {error}")


def _now() -> datetime:
    from licensing import deployment

    return deployment.now()


def _operator() -> Origin:
    """Who runs this: in the log, changes are the vendor's, with the name of the account on this machine."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # no such account, as in a container
        name = ""
    return Origin("vendor", "cloud-licensing", name)


# ── data ──


def _parsed(file: Path) -> Any:
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is no YAML: {error}") from error
    if not isinstance(document, dict):
        raise ValueError(f"{file} holds no document with vendor, applications, products, customers.")
    return document


@app.command()
def check(file: File) -> None:
    """Check a catalogue-and-customers file against the deployment, without loading it."""
    from licensing import loading

    with _told():
        document = _parsed(file)
        loading.check(document, _now())
        found = {name: len(document.get(name) or []) for name in ("applications", "products", "customers")}
        counts = ", ".join(f"{count} {name}" for name, count in found.items())
        _say(f"{file} can be loaded: {counts}.")


@app.command()
def load(file: File) -> None:
    """Load a catalogue-and-customers file; loading it again changes only what differs."""
    from licensing import loading

    with _told():
        document = _parsed(file)
        names = iter(track(document.get("customers") or [], description="Loading", console=err, transient=True))
        _know_the_mail_queue()
        report = loading.load(document, _now(), by=_operator(), progress=lambda name: next(names, None))
        _report(report)


def _report(report: "LoadReport") -> None:
    for line in report.lines():
        _say(line)
    if report.activation_tokens:
        _say("New activation tokens:")
        table = _table("Customer", "Installation", "Activation token")
        for row in report.activation_tokens:
            table.add_row(*row)
        _show(table)


@app.command()
def profile(
    root: Root,
    site: Annotated[list[str], typer.Option(help="A site's address; Site 1 first, then Site 2.")],
) -> None:
    """Print the vendor profile (vendor.json) that ships with the License Manager: sites, issuer, pinned root."""
    from licensing.store import vendor

    from infra.operator import keys as operations

    with _told():
        settings = vendor.get()
        _require_issuer()
        made = {
            "vendor": settings.name,
            "issuer": os.environ["ISSUER"],
            "sites": site,
            "root_keys": [operations.root_jwk(root)],
            "contact": asdict(settings.contact),
            "portal_url": settings.portal_url,
        }
        sys.stdout.write(json.dumps(made, indent=2, ensure_ascii=False) + "\n")


# ── customers ──


@customers.command("show")
def show_customer(tax_id: TaxId) -> None:
    """Show a customer: its servers with status and last validation, and its licenses."""
    from licensing import administration

    with _told():
        account, now = administration.find_account(tax_id), _now()
        _say(f"{account.customer.name} ({account.customer.tax_id}), {account.customer.time_zone}")
        servers = _table("Installation", "Status", "Last validation", "Silent", "Mode", "Host", "Id")
        for key, (status, state) in administration.servers_of(account, now).items():
            each = account.installations[key]
            last = silent = host = ""
            if state and state.held and state.validated_at:
                days = silent_days(state.validated_at, now, state.report.time_zone)
                last, silent, host = (
                    f"{state.validated_at:%Y-%m-%d %H:%M} UTC",
                    f"{days} d, {rung(days)}",
                    state.report.hostname,
                )
            suspected = " (clone suspected)" if state and state.suspected_at else ""
            servers.add_row(each.name, status + suspected, last, silent, each.mode, host, key)
        _show(servers)
        table = _table("License", "SKU", "Quantity", "Assigned", "State", "Last day", "Where")
        for license in sorted(account.licenses.values(), key=lambda each: each.code):
            where = ", ".join(f"{account.installations[at].name} {n}" for at, n in license.allocations.items())
            assigned = sum(license.allocations.values())
            last_day = str(license.last_day or "perpetual")
            table.add_row(
                license.code, license.sku, str(license.quantity), str(assigned), license.state, last_day, where
            )
        _show(table)


@customers.command("open-window")
def open_window(
    tax_id: TaxId,
    minutes: Annotated[int, typer.Option(min=1, max=24 * 60, help="For how long.")] = 60,
) -> None:
    """Open a short window in which the tax id alone is enough to activate (no e-mailed code)."""
    from licensing import administration

    with _told():
        until = administration.open_window(tax_id, timedelta(minutes=minutes), _operator(), _now())
        _say(f"Open until {until:%Y-%m-%d %H:%M} UTC.")


# ── installations ──


def _installation(tax_id: str, name: str) -> "tuple[Account, str]":
    from licensing import administration

    account = administration.find_account(tax_id)
    return account, administration.find_installation(account, name)


@installations.command("token")
def show_token(tax_id: TaxId, name: Name) -> None:
    """Print an installation's activation token."""
    with _told():
        account, key = _installation(tax_id, name)
        token = account.installations[key].activation_token
        sys.stdout.write(f"{token}\n" if token else "")
        if not token:
            _fail("Nothing is assigned to this installation yet, so it has no activation token.")


@installations.command("rotate-token")
def rotate_token(tax_id: TaxId, name: Name) -> None:
    """Replace an installation's activation token, and print the new one."""
    from licensing import administration

    with _told():
        account, key = _installation(tax_id, name)
        token = administration.rotate_activation_token(account.customer.customer_id, key, _operator(), _now())
        sys.stdout.write(token + "\n")


@installations.command("release")
def release(tax_id: TaxId, name: Name) -> None:
    """Take an installation from the server that holds it; another can activate it."""
    from licensing import administration

    with _told():
        account, key = _installation(tax_id, name)
        held = administration.release_installation(account.customer.customer_id, key, _operator(), _now())
        released = "Released. The server that held it gets a final no at its next validation."
        _say(released if held else "No server holds it, as far as we know, so there was nothing to release.")


@installations.command("disable")
def disable(tax_id: TaxId, name: Name) -> None:
    """Disable an installation: its quantities are free, its server gets a final no."""
    from licensing import administration

    with _told():
        account, key = _installation(tax_id, name)
        administration.disable(account.customer.customer_id, key, _operator(), _now())
        _say("Disabled. Its quantities are free; its last token may run for up to ten days more.")


@installations.command("enable")
def enable(tax_id: TaxId, name: Name) -> None:
    """Enable an installation again; assign something to it afterwards."""
    from licensing import administration

    with _told():
        account, key = _installation(tax_id, name)
        administration.enable(account.customer.customer_id, key, _operator(), _now())
        _say("Enabled. Nothing is assigned to it yet.")


@installations.command("settle-clone")
def settle_clone(tax_id: TaxId, name: Name) -> None:
    """Decide that a suspected clone is one server; whoever comes next goes on."""
    from licensing import administration

    with _told():
        account, key = _installation(tax_id, name)
        administration.settle_clone(account.customer.customer_id, key, _operator(), _now())
        _say("Settled. The next validation goes on.")


# ── orders ──

OrderId = Annotated[str, typer.Argument(help="The order's id or number, as `orders list` shows them.")]


def _know_the_mail_queue() -> None:
    """Name the queue of the deployment's e-mails."""
    import boto3

    if "MAIL_QUEUE_URL" not in os.environ:
        name = f"{os.environ['DEPLOYMENT']}-Mail"
        os.environ["MAIL_QUEUE_URL"] = boto3.client("sqs").get_queue_url(QueueName=name)["QueueUrl"]


def _vendor() -> "User":
    """The vendor, as whom this acts; also names the queue of its deployment's e-mails."""
    from licensing.rules.people import VENDOR, User

    _know_the_mail_queue()
    return User("cloud-licensing", "", _operator().name, VENDOR)


def _find_order(user: "User", name: str) -> "Found":
    """The order with this id, or with this number where it is one reseller's only."""
    from licensing import orders as capability
    from licensing.rules.orders import number_key

    if name.startswith("ord_"):
        return capability.show(user, name, _now())
    found = capability.search(user, name, "all", None, _now(), 100).items
    named = [each for each in found if number_key(each.order.number) == number_key(name)]
    if len(named) != 1:
        raise ValueError(f"{len(named)} orders have this number; `orders list` shows their ids." if named else
                         "There is no such order.")  # fmt: skip
    return named[0]


@orders.command("load")
def load_orders(file: File) -> None:
    """Take in the orders of a file, after checking it as a whole; loading it again takes in only what is new."""
    from licensing import order_files

    with _told():
        try:
            bodies = order_files.parse(file.read_text(encoding="utf-8"))
            user = _vendor()
            numbers = iter(
                track([each.order_number for each in bodies], description="Loading", console=err, transient=True)
            )
            loaded = order_files.load(user, bodies, _now(), _operator(), lambda number: next(numbers, None))
        except order_files.FileRefused as refused:
            where = [f"{each.where}, line {each.line}" if each.line else each.where for each in refused.faults]
            _fail(
                "Nothing was loaded.",
                *(f"{at}: {each.text}" for at, each in zip(where, refused.faults, strict=True)),
            )
            return
        for each in loaded:
            what = "taken in, its e-mail is on its way" if each.result == "taken_in" else "was taken in before"
            _say(f"{each.number}: {what} ({each.order_id})")


@orders.command("list")
def list_orders(
    everything: Annotated[bool, typer.Option("--all", help="Unlocked and cancelled ones too.")] = False,
    search: Annotated[str, typer.Option(help="In number, customer's name or tax id.")] = "",
) -> None:
    """List the newest hundred orders that wait to be unlocked, and how far they are."""
    from licensing import orders as capability

    with _told():
        found = capability.search(_vendor(), search, "all" if everything else "open", None, _now(), 100)
        table = _table("Number", "Customer", "Reseller", "Ordered", "State", "Steps", "Id")
        for each in found.items:
            order = each.order
            done = [name for name, reached in asdict(each.steps).items() if reached]
            table.add_row(
                order.number, order.customer_name, each.reseller.name, f"{order.ordered_at:%Y-%m-%d %H:%M} UTC",
                order.state, ", ".join(done), order.order_id,
            )  # fmt: skip
        _show(table)
        if found.next_cursor:
            _say("There are more; search for them.")


@orders.command("show")
def show_order(name: OrderId) -> None:
    """Show an order: its lines, and what became of its e-mails."""
    with _told():
        order = _find_order(_vendor(), name).order
        _say(f"{order.number}, {order.customer_name} ({order.tax_id}), {order.state}")
        table = _table("License", "SKU", "Quantity", "State", "Last day")
        for line in order.lines:
            last_day = str(line.last_day or "perpetual")
            table.add_row(
                line.license_code,
                line.sku,
                f"{line.quantity} = {line.units} {line.unit}",
                order.state_of(line),
                last_day,
            )
        _show(table)
        mails = _table("E-mail to", "State", "At", "Reason")
        for mailing in order.mailings:
            for each in mailing.deliveries:
                mails.add_row(each.email, each.state, f"{each.at or mailing.at:%Y-%m-%d %H:%M} UTC", each.reason)
        _show(mails)


@orders.command("resend")
def resend_order(
    name: OrderId,
    to: Annotated[list[str] | None, typer.Option(help="Other addresses than before; repeat for more.")] = None,
) -> None:
    """Send an order's e-mail again, with a new link; the earlier ones stay good."""
    from licensing import orders as capability
    from licensing.contract_orders import Resend

    with _told():
        user = _vendor()
        order = _find_order(user, name).order
        recipients = Resend(recipients=tuple(to or ())).recipients
        capability.resend(user, order.order_id, recipients, _now(), _operator())
        _say("The e-mail is on its way.")


@orders.command("cancel")
def cancel_order(name: OrderId) -> None:
    """Cancel an order that waits to be unlocked: its licenses are gone, its links dead; what it renewed stays renewed."""
    from licensing import orders as capability

    with _told():
        user = _vendor()
        cancelled = capability.cancel(user, _find_order(user, name).order.order_id, _now(), _operator())
        renewed = [line.license_code for line in cancelled.lines if line.state == "renewed"]
        _say("Cancelled." + (f" Still renewed: {', '.join(renewed)}." if renewed else ""))


# ── activation keys ──


@activation_keys.command("issue")
def issue_activation_key(file: File) -> None:
    """Issue a key and print its text. The file has what the API takes (POST /v1/keys), with `customer`, a tax id, for the id."""
    from licensing import activation_keys as capability
    from licensing import administration
    from licensing.contract_keys import NewKey

    with _told():
        _require_issuer()
        document: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        if not isinstance(document, dict) or "customer" not in document:
            raise ValueError("The file says nothing about a customer.")
        account = administration.find_account(str(document.pop("customer")))
        body = NewKey.model_validate({**document, "customer_id": account.customer.customer_id})
        issued = capability.issue(body.customer_id, capability.terms_of(body), _operator(), _now())
        _say(issued.text)


@activation_keys.command("list")
def list_activation_keys(
    tax_id: Annotated[str | None, typer.Argument(help="Of this customer; else the newest hundred of all.")] = None,
) -> None:
    """List activation keys, the newest first."""
    from licensing import activation_keys as capability
    from licensing import administration

    with _told():
        if tax_id:
            found = capability.issued(administration.find_account(tax_id).customer.customer_id)
        else:
            found, _ = capability.all_issued(None, 100)
        table = _table("Key", "No.", "Customer", "Companies", "Seats", "First day", "Last day")
        for issued in found:
            key = issued.key
            seats = ", ".join(f"{name} {count}" for name, count in key.concurrent.items())
            table.add_row(
                key.key_id, str(key.serial), key.customer_id, str(len(key.companies)), seats, str(key.first_day),
                str(key.last_day),
            )  # fmt: skip
        _show(table)


@activation_keys.command("show")
def show_activation_key(
    key_id: Annotated[str, typer.Argument(help="The key's id, as `activation-keys list` shows it.")],
) -> None:
    """Print a key's text, to be mailed, pasted, or kept as a file."""
    from licensing import activation_keys as capability

    with _told():
        _say(capability.find(key_id).text)


# ── users ──


@users.command("invite")
def invite_user(
    email: Annotated[str, typer.Argument(help="The e-mail address to invite.")],
    vendor: Annotated[bool, typer.Option("--vendor", help="One of the vendor's own people.")] = False,
    tax_id: Annotated[str, typer.Option("--customer", help="An administrator of the customer with this tax id.")] = "",
) -> None:
    """Make the link by which somebody chooses a password. It is printed, not mailed: hand it over, it is good for 14 days."""
    from licensing import people
    from licensing.rules.people import Invitation
    from licensing.store import vendor as settings

    with _told():
        organization = _organization(vendor, tax_id)
        roles: Any = () if vendor else ("administrator",)
        path = people.invite_by_hand(Invitation(email, organization, roles), _operator(), _now())
        _say(settings.get().portal_url + path)


@users.command("list")
def list_users(
    tax_id: Annotated[str, typer.Argument(help="A customer's or a reseller's tax id.")] = "",
    vendor: Annotated[bool, typer.Option("--vendor", help="The vendor's own people.")] = False,
) -> None:
    """List the people of the vendor, a reseller or a customer."""
    from licensing.store import people

    with _told():
        table = _table("Name", "E-mail address", "Roles", "Id")
        for each in people.members(_organization(vendor, tax_id)):
            table.add_row(each.name, each.email or "(a program)", ", ".join(each.roles), each.user_id)
        _show(table)


@users.command("remove")
def remove_user(
    who: Annotated[str, typer.Argument(help="The e-mail address, or a program's client id.")],
    pool: Annotated[str, typer.Option("--user-pool", envvar="USER_POOL_ID", help="The stack's output UserPoolId.")],
) -> None:
    """Take somebody out: the account is gone, and with it its sessions."""
    from licensing import people
    from licensing.store import people as store

    os.environ["USER_POOL_ID"] = pool
    with _told():
        user = store.find_by_email(who) or store.get(who)
        if user is None:
            raise ValueError(f"Nobody has the address or client id {who}.")
        people.remove(user.organization, user.user_id, _operator(), _now())
        _say(f"{user.name} is removed.")


@users.command("add-client")
def add_client(
    client_id: Annotated[str, typer.Argument(help="The stack's output ErpClientId, or another client's id.")],
    name: Annotated[str, typer.Argument(help="What the operation log calls it.")],
) -> None:
    """Make a program known that calls the API for the vendor, such as its ERP."""
    from licensing import people

    with _told():
        people.add_client(client_id, name, _operator(), _now())
        _say(f"{name} may do what the vendor's people may.")


def _organization(vendor: bool, tax_id: str) -> str:
    from licensing import administration
    from licensing.rules.people import VENDOR
    from licensing.rules.tax_ids import normalize
    from licensing.store import people

    if vendor == bool(tax_id):
        raise ValueError("Say whose: --vendor, or a tax id.")
    if vendor:
        return VENDOR
    for each in people.resellers().values():
        if each.tax_id == normalize(tax_id):
            return each.reseller_id
    return administration.find_account(tax_id).customer.customer_id


# ── log ──

_TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]
Since = Annotated[datetime | None, typer.Option(formats=_TIMES, help="From then on (UTC).")]
Until = Annotated[datetime | None, typer.Option(formats=_TIMES, help="Before then (UTC).")]
Action = Annotated[str, typer.Option(help="Only actions that begin so, for example server. or installation.disabled")]
LogOf = Annotated[str, typer.Argument(help="Whose log: the tax id of a customer or a reseller.")]
OfVendor = Annotated[bool, typer.Option("--vendor", help="The vendor's own log.")]
Result = Annotated[str, typer.Option(help="Only this result, for example DONE or INSTALLATION_DISABLED.")]


def _know_the_seal_bucket() -> None:
    """The bucket is named after the account, as no other may have its name."""
    if "SEAL_BUCKET" not in os.environ:
        account = boto3.client("sts").get_caller_identity()["Account"]
        os.environ["SEAL_BUCKET"] = f"{os.environ['DEPLOYMENT']}-seals-{account}"


def _know_the_archive() -> None:
    """The bucket that the nightly function archives to, as its own environment has it: nothing is to be cut past it."""
    if "ARCHIVE_BUCKET" in os.environ:
        return
    try:
        name = f"{os.environ['DEPLOYMENT']}-CleanLog"
        nightly = boto3.client("lambda").get_function_configuration(FunctionName=name)
    except (ClientError, BotoCoreError) as error:
        raise ValueError(
            f"Nothing is cut before it is known where it is archived: set ARCHIVE_BUCKET, to nothing for nowhere. AWS: {error}"
        ) from error
    os.environ["ARCHIVE_BUCKET"] = nightly.get("Environment", {}).get("Variables", {}).get("ARCHIVE_BUCKET", "")


def _log_of(vendor: bool, tax_id: str) -> str:
    """The same as ``_organization``, but that who is a reseller and a customer too is meant as a customer."""
    from licensing.rules.tax_ids import normalize
    from licensing.store import accounts

    return (accounts.find_by_tax_id(normalize(tax_id)) if tax_id and not vendor else None) or _organization(
        vendor, tax_id
    )


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment else None


@log.command("show")
def show_log(
    tax_id: LogOf = "",
    vendor: OfVendor = False,
    since: Since = None,
    until: Until = None,
    action: Action = "",
    result: Result = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
) -> None:
    """Show the operations of a customer, of a reseller's own, or of the vendor's own, newest first."""
    from licensing import log_reading

    with _told():
        owner, now = _log_of(vendor, tax_id), _now()
        filters = log_reading.Filters(action=action, result=result)
        table = _table("When", "Who", "Action", "Subject", "Result", "Details")
        shown, cursor = 0, None
        while shown < limit:
            page = log_reading.list_operations(
                owner,
                now,
                since=_utc(since),
                until=_utc(until),
                filters=filters,
                limit=limit - shown,
                cursor=cursor,
            )
            for each in page.items:
                who = " ".join(part for part in (each.by.kind, each.by.name or each.by.id, each.by.address) if part)
                details = ", ".join(f"{name} {value}" for name, value in each.details.items())
                at = f"{each.at:%Y-%m-%d %H:%M:%S}"
                table.add_row(at, who, each.action, each.subject_id, each.result, details)
            shown, cursor = shown + len(page.items), page.next_cursor
            if cursor is None:
                break
        _show(table)


@log.command("export")
def export_log(
    tax_id: LogOf = "",
    vendor: OfVendor = False,
    form: Annotated[LogFormat, typer.Option("--format", help="CSV, or JSON Lines.")] = LogFormat.CSV,
    since: Since = None,
    until: Until = None,
    action: Action = "",
    result: Result = "",
) -> None:
    """Write the same to the standard output, oldest first."""
    from licensing import log_reading

    with _told(), err.status("Reading") as status:
        owner = _log_of(vendor, tax_id)
        lines = log_reading.export(
            owner,
            form.value,
            _now(),
            since=_utc(since),
            until=_utc(until),
            filters=log_reading.Filters(action=action, result=result),
            progress=lambda count, day: status.update(f"{count} operations, up to {day}"),
        )
        for line in lines:
            sys.stdout.write(line)


@log.command("verify")
def verify_log(
    tax_id: LogOf = "",
    vendor: OfVendor = False,
    since: Annotated[datetime | None, typer.Option(formats=_TIMES, help="From that day on (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option(formats=_TIMES, help="Up to that day (UTC), and with it.")] = None,
) -> None:
    """Say whether anything was altered, removed or added since its day was sealed, and what. Exit status 1 if so."""
    from licensing import sealing

    with _told():
        _know_the_seal_bucket()
        now = _now()
        owner = _log_of(vendor, tax_id)
        first, last = (since.date() if since else date.min), (until.date() if until else now.date())
        found = sealing.verify(owner, first, last, now)
        cut = f", {found.cut} of them cut by retention" if found.cut else ""
        _say(f"{found.days} sealed days{cut}, {found.entries} operations. Not sealed yet: from {found.open_from} on.")
        if found.erased:
            _say(
                f"Of {found.erased} operations name and address were erased, which a seal allows. Lawful ones are in the log, with "
                "their number: log show --action log.personal_data_erased"
            )
        if found.findings:
            _fail(
                *(f"{each.day}: {each.fault.replace('_', ' ')} {each.operation_id}".rstrip() for each in found.findings)
            )
        _say("Nothing was altered, removed or added." if found.days else "No day of this range is sealed yet.")


@log.command("retention")
def log_retention(
    tax_id: TaxId,
    days: Annotated[int | None, typer.Argument(help="Days to keep, 1-3650; without, what is kept now.")] = None,
) -> None:
    """Show, or change, for how many days a customer's operations are kept. Shortening waits seven days."""
    from licensing import administration

    with _told():
        customer, now = administration.find_account(tax_id).customer, _now()
        kept = customer.log_retention
        if days is not None:
            _know_the_mail_queue()
            kept = administration.set_log_retention(customer.customer_id, days, _operator(), now)
        _say(f"Operations are kept for {kept.in_force(now)} days.")
        if kept.shortening and kept.shortening.since > now:
            _say(
                f"From {kept.shortening.since:%Y-%m-%d %H:%M} UTC on for {kept.shortening.days}; its administrators are told."
            )


@log.command("cleanup")
def clean_log(tax_id: LogOf = "", vendor: OfVendor = False) -> None:
    """Seal and cut now what the nightly schedule would seal and cut of this log."""
    from licensing import log_cleanup

    with _told():
        _know_the_seal_bucket()
        _know_the_archive()
        done = log_cleanup.clean(_log_of(vendor, tax_id), _now())
        _say(f"{done.sealed_days} days sealed, {done.cut_days} cut, {done.deleted} operations deleted.")


@log.command("redrive")
def redrive_log(
    queue: Annotated[str, typer.Option(envvar="UNRECORDED_OPERATIONS", help="URL of the queue UnrecordedOperations.")],
) -> None:
    """Record what the stream's function could not, as its failure queue says; within the 24 hours that a stream remembers."""
    from infra.operator import redrive

    with _told():
        done = redrive.unrecorded(queue, _now())
        _say(f"{done.messages} messages, {done.records} records, {done.recorded} operations that were missing.")
        if done.lost:
            _fail(f"{done.lost} messages tell of records that the stream has forgotten; they stay in the queue.")


# ── keys ──


def _require_issuer() -> None:
    if not os.environ["ISSUER"]:
        raise ValueError("Say who issues: --issuer https://licensing.example, or set ISSUER.")


def _place(signer: Signing) -> str:
    return signer if signer is Signing.KMS else f"secret:{os.environ['DEPLOYMENT']}/signing-keys"


@keys.command("list")
def list_keys() -> None:
    """List the keys and where they are in their life."""
    from licensing.store import key_sets

    with _told():
        current = key_sets.get()
        if current is None:
            _fail("There is no key set yet. Make one with: cloud-licensing keys init")
            return
        _say(f"Key set, version {current.key_set.version}")
        table = _table("Key", "Use", "Stage", "Since", "Signer")
        for key in current.key_set.keys:
            table.add_row(key.kid, key.use, key.stage, f"{key.since:%Y-%m-%d %H:%M} UTC", key.signer.partition(":")[0])
        _show(table)


@keys.command("init")
def init_keys(root: Root, signer: NewSigner = Signing.KMS, replica_region: ReplicaRegion = None) -> None:
    """Make the first key set of a new deployment."""
    from infra.operator import keys as operations

    with _told():
        _require_issuer()
        made = operations.initialize(root, _place(signer), _now(), replica_region, _operator())
        for key in made.keys:
            _say(f"Key {key.kid} signs {_SIGNED[key.use]}.")
        _say("Pin the root: cloud-licensing profile")


@keys.command("publish")
def publish_key(
    root: Root,
    signer: NewSigner = Signing.KMS,
    use: Annotated[KeyUse, typer.Option(help="What the key is to sign.")] = KeyUse.SERVER,
) -> None:
    """Rotation, step 1: make a new key and let everybody know it. It signs nothing yet."""
    from infra.operator import keys as operations

    with _told():
        _require_issuer()
        key = operations.publish(root, use.value, _place(signer), _now(), _operator())
        _say(f"Published {key.kid}. In an hour: cloud-licensing keys switch {key.kid}")


def _step(root: str, step: Callable[[KeySet, datetime], KeySet], done: str) -> None:
    from infra.operator import keys as operations

    with _told():
        _require_issuer()
        now = _now()
        operations.change(root, now, lambda current: step(current, now), _operator())
        _say(done)


@keys.command("switch")
def switch_key(
    kid: Kid,
    root: Root,
    at_once: Annotated[bool, typer.Option(help="Don't wait until every cached key set has it (emergency).")] = False,
) -> None:
    """Rotation, step 2: let a published key sign. The old one stops, and goes on verifying: for 400 days, or for license
    files until it is revoked."""
    from infra.operator import keys as operations

    with _told():
        _require_issuer()
        operations.switch(root, kid, _now(), at_once=at_once, by=_operator())
        _say(f"{kid} signs from now on.")


@keys.command("replicate")
def replicate_keys(region: Annotated[str, typer.Argument(help="Site 2's region.")]) -> None:
    """Replicate the keys in KMS to a second site that came later."""
    from infra.operator import keys as operations

    with _told():
        done = operations.replicate(region)
        _say("\n".join(f"Replicated {kid}." for kid in done) or "Nothing to replicate.")


@keys.command("withdraw")
def withdraw_key(kid: Kid, root: Root) -> None:
    """Take back a published key that never signed."""
    from licensing.rules.key_set import withdraw

    _step(root, lambda current, now: withdraw(current, kid), f"{kid} is withdrawn.")


@keys.command("revoke")
def revoke_key(kid: Kid, root: Root) -> None:
    """Let a key be accepted by nobody any more. Servers with a token by it must activate again."""
    from licensing.rules.key_set import revoke

    _step(root, lambda current, now: revoke(current, kid, now), f"{kid} is revoked.")
