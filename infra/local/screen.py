"""What ``make run`` says: addresses, who is in the demo, and what to do next."""

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from infra.local.template import REGION
from infra.local.users import PASSWORD

if TYPE_CHECKING:
    from infra.local.stack import Stack


def welcome(stack: "Stack") -> str:
    """The screen once everything is up."""
    return "\n".join(_lines(stack))


def served(site: str, method: str, path: str, status: int, milliseconds: float) -> str:
    """One line for a request."""
    return f"{site}  {method:<4} {path}  {status}  {milliseconds:.0f} ms"


def _lines(stack: "Stack") -> Iterator[str]:
    vendor = stack.document["vendor"]["name"]
    site = stack.sites[0].url
    home, profile = _path(stack.directory / "server-1"), _path(stack.vendor_file)
    manager = f".venv/bin/license-manager --home {home} --vendor {profile}"
    customer = stack.document["customers"][0]

    yield f"The licensing system of {vendor}, on this machine. Ctrl-C ends it."
    yield ""
    for each in stack.sites:
        yield f"  {each.name}   {each.url}   {each.region}"
    yield f"  AWS      {stack.aws_url}   for AWS_ENDPOINT_URL, and functions.log in {_path(stack.directory)}"
    yield ""
    yield f"Portal     {site}/portal"
    for user in stack.user_pool.users:
        if user.password:
            yield f"  {user.username:<44} {user.group}, {user.organization}"
    yield f'  everybody\'s password is "{PASSWORD}"; what is mailed to them is in {site}/local/outbox'
    yield ""
    yield "Customers"
    for one in stack.document["customers"]:
        names = ", ".join(installation["name"] for installation in one["installations"])
        yield f"  {one['tax_id']:<17} {one['name']} ({names})"
    yield ""
    yield "Next, in a second terminal:"
    yield ""
    yield f"Activate a server of {customer['name']} by its tax id; the guided flow asks for all it needs"
    yield f"  {manager}"
    yield f"  tax id {customer['tax_id']}; the code is in {site}/local/outbox, or:"
    yield f"  curl -s {site}/local/outbox"
    yield ""
    yield "Once it is activated"
    yield f"  {manager} validate"
    yield f"  {manager} status"
    if stack.activation_tokens:
        yield ""
        name, installation, token = stack.activation_tokens[-1]
        yield f"Or by an activation token: {name}, {installation}"
        yield f"  {manager.replace('server-1', 'server-2')} activate --token={token}"
    yield ""
    yield "An order waits to be unlocked: its e-mail is in the outbox. Load another, as the vendor"
    yield "  in the portal by Orders, Load orders; or:"
    yield (
        f"  AWS_ENDPOINT_URL={stack.aws_url} AWS_REGION={REGION} AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local "
        ".venv/bin/cloud-licensing orders load infra/local/order.yaml"
    )
    yield ""
    yield "An activation key waits to be imported: in the portal, as carmen.ibanez@miradordelturia.example, by Seats and keys,"
    yield f"  Import a key, with the file {_path(stack.key_file)}"
    yield ""
    yield "Look at the API"
    yield f"  curl -s {site}/v1/ping"
    yield f"  curl -s {site}/v1/keyset"
    yield f"  curl -s {site}/local/clock"
    yield ""
    yield "Travel in time: let three days pass in the cloud, then look from the same day on the server"
    yield f"  curl -s -d '{{\"advance_days\": 3}}' {site}/local/clock"
    default = "" if stack.sites[0].port == 8001 else f" --stack {site}"
    yield f"  .venv/bin/python -m infra.local.at{default} -- {manager.removeprefix('.venv/bin/')} status"
    yield f"  curl -s -X POST {site}/local/reset"
    yield ""
    yield "Run what runs at night: the alerts, the cleaning of the operation logs, the renewal of keys"
    yield f"  {site}/local/schedules"
    yield ""


def _path(path: Path) -> str:
    """A path as short as it can be from here, quoted for a shell."""
    shorter = os.path.relpath(path)
    return shlex.quote(shorter if len(shorter) < len(str(path)) else str(path))
