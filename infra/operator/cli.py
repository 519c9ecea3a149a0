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
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    from licensing.rules.accounts import Account

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, rich_markup_mode=None)
customers = typer.Typer(no_args_is_help=True, help="Customers and their activation windows.")
installations = typer.Typer(no_args_is_help=True, help="Installations: tokens, release, disable, clones.")
keys = typer.Typer(no_args_is_help=True, help="Signing keys: publish, switch, and go on verifying.")
app.add_typer(customers, name="customers")
app.add_typer(installations, name="installations")
app.add_typer(keys, name="keys")

out = Console()
err = Console(stderr=True)


class Signing(StrEnum):
    """Where signing keys live."""

    KMS = "kms"
    SECRET = "secret"  # noqa: S105  the name of a place


class KeyUse(StrEnum):
    """What a signing key signs."""

    SERVER = "server"
    KEY = "key"
    SEAT = "seat"


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
    Console(width=max(out.width, 300)).print(table, soft_wrap=True)


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
        _fail(detail if error.code != "NOT_FOUND" else "There is no such customer or installation.")
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
        made = operations.initialize(root, _place(signer), _now(), replica_region)
        for key in made.keys:
            _say(f"Key {key.kid} signs for {key.use}.")
        _say("Pin this root: cloud-licensing profile")


@keys.command("publish")
def publish_key(
    root: Root,
    signer: NewSigner = Signing.KMS,
    use: Annotated[KeyUse, typer.Option(help="Server tokens, activation keys, or borrowed seats.")] = KeyUse.SERVER,
) -> None:
    """Rotation, step 1: make a new key and let everybody know it. It signs nothing yet."""
    from infra.operator import keys as operations

    with _told():
        _require_issuer()
        key = operations.publish(root, use.value, _place(signer), _now())
        _say(f"Published {key.kid}. In an hour: cloud-licensing keys switch {key.kid}")


def _step(root: str, step: Callable[[KeySet, datetime], KeySet], done: str) -> None:
    from infra.operator import keys as operations

    with _told():
        _require_issuer()
        now = _now()
        operations.change(root, now, lambda current: step(current, now))
        _say(done)


@keys.command("switch")
def switch_key(
    kid: Kid,
    root: Root,
    at_once: Annotated[bool, typer.Option(help="Don't wait until every cached key set has it (emergency).")] = False,
) -> None:
    """Rotation, step 2: let a published key sign. The old one stops, and goes on verifying for 400 days."""
    from infra.operator import keys as operations

    with _told():
        _require_issuer()
        operations.switch(root, kid, _now(), at_once=at_once)
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
