"""The stack on one machine: both sites, the AWS services behind them, the demo data."""

import json
import os
import re
import shutil
import ssl
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, ClassVar, Literal
from unittest.mock import patch

import boto3

from infra.local import demo
from infra.local.aws import LOCK, Aws
from infra.local.clock import MovableClock
from infra.local.functions import Functions
from infra.local.functions import Site as Location
from infra.local.gateway import Gateway
from infra.local.http import HOST, Application, Request, Response, Server
from infra.local.pages import LocalPages
from infra.local.permissions import Guard
from infra.local.provision import Provisioned, make_schedules
from infra.local.queues import Poller, QueueSource
from infra.local.streams import StreamSource
from infra.local.template import BACKUP_REGION, REGION, Function, functions
from infra.local.users import UserPool

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "template.yaml"
DEFAULT_PORT = 8001
ISSUER = "https://licensing.aurora.example"

PRIMARY = Location("Site 1", "primary", REGION, home=True)
BACKUP = Location("Site 2", "backup", BACKUP_REGION, home=False)

#: In the path of a link from an e-mail: it is not shown, as no log shows it.
_SECRET = re.compile(r"/([a-z2-7]{32}|[0-9a-f]{64})(?=/|$)")

#: In a directory that belongs to the local stack, so that no other is ever emptied.
_MARKER = ".local-stack"

#: Told about each request served: site, method, path, status, milliseconds.
Reporter = Callable[[str, str, str, int, float], None]


class PortTaken(Exception):
    """Raised when something else listens on a port that the stack needs; the message says which, and what to do."""


class DirectoryTaken(Exception):
    """Raised when the stack's directory is in use by another one, or holds what is not the stack's."""


class Site:
    """One of the two sites, at an address of its own. It can be stopped and started while the other serves."""

    def __init__(self, location: Location, server: Server) -> None:
        self.name = location.name
        self.region = location.region
        self._server = server

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return self._server.url

    @property
    def port(self) -> int:
        """Its port."""
        return self._server.port

    def start(self) -> None:
        """Serve (again)."""
        self._server.start()

    def stop(self) -> None:
        """Be gone, as a site that lost its power."""
        self._server.stop()


class Stack(AbstractContextManager["Stack"]):
    """A running deployment. Use it as a context manager; one at a time in a process.

    ``port`` is Site 1's; Site 2 and AWS take the next two. Port 0 takes free ones. ``directory`` is emptied at the
    start and gets ``vendor.json`` and the functions' log. With a ``context`` the sites speak TLS. ``aws_host`` is where
    AWS is to be found: containers reach this machine by another address than loopback.

    Raises PortTaken, DirectoryTaken.
    """

    #: The one that runs in this process.
    running: ClassVar["Stack | None"] = None

    def __init__(
        self,
        *,
        directory: Path,
        port: int = 0,
        context: ssl.SSLContext | None = None,
        aws_host: str = HOST,
        report: Reporter | None = None,
        demo_file: Path = demo.DEMO,
    ) -> None:
        self.directory = directory
        self.clock = MovableClock()
        self.document: dict[str, Any] = {}
        self.activation_tokens: list[tuple[str, str, str]] = []
        self.vendor_profile: dict[str, Any] = {}
        self.aws = Aws(self.clock)
        self._report = report
        self._demo_file = demo_file
        self._applications: dict[str, Application] = {}
        self._open = ExitStack()
        try:
            servers = [self._listen(name, port, place, context) for place, name in enumerate(("Site 1", "Site 2"))]
            self._aws_server = self._listen("AWS", port, 2, None, aws_host)
        except PortTaken:
            self._open.close()
            raise
        self.sites = (Site(PRIMARY, servers[0]), Site(BACKUP, servers[1]))

    def __enter__(self) -> "Stack":
        """Start everything, and load the demo data. Raises RuntimeError while another one runs in this process."""
        try:
            self._open.enter_context(_Directory(self.directory))
            if Stack.running:
                raise RuntimeError("a stack runs in this process already, and moto has one memory for all")
            self._open.enter_context(self.aws)
            self._deploy()
            self._load()
            self._issue_keys()
            self._order()
            self._restore = self.aws.snapshot()
            self._serve()
        except BaseException:
            self._open.close()
            raise
        Stack.running = self
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop everything. What the deployment remembered is gone."""
        self._open.close()
        if Stack.running is self:
            Stack.running = None

    @property
    def aws_url(self) -> str:
        """``AWS_ENDPOINT_URL`` for other processes: the same data as the functions see."""
        return self._aws_server.url

    @property
    def vendor_file(self) -> Path:
        """The vendor profile for License Managers."""
        return self.directory / "vendor.json"

    @property
    def key_file(self) -> Path:
        """The activation key that waits to be imported."""
        return self.directory / "activation-key.txt"

    def invoke(self, function: Function, event: Mapping[str, Any]) -> Any:
        """Run a function at Site 1; raises FunctionFailed."""
        return self.functions.invoke(function, event, PRIMARY)

    def run_schedule(self, function: Function) -> Any:
        """Run a function as its schedule does, and all that it queues, at once; raises FunctionFailed."""
        with LOCK:
            result = self.invoke(function, {})
            self.aws.hurry_queues()
            self.queues.run_once()
        return result

    def reset(self) -> None:
        """Back to the demo data, with the same tokens, and to the real time; keys, agents and addresses stay."""
        with LOCK:
            self._restore()
            self.aws.empty_queues()
            self.aws.empty_buckets()
            for stream in self.streams:
                stream.skip()
            self.aws.sent_mail.clear()
            self.clock.reset()
            self._forget()

    def checkpoint(self) -> None:
        """From now on :meth:`reset` leads back to how things are now."""
        with LOCK:
            self._restore = self.aws.snapshot()

    # ── starting ──

    def _listen(self, name: str, port: int, place: int, context: ssl.SSLContext | None, host: str = HOST) -> Server:
        wanted = port + place if port else 0
        try:
            server = Server(wanted, lambda request: self._applications[name](request), context, host)
        except OSError as error:
            raise PortTaken(
                f"Port {wanted} on {host} is taken ({name}). Stop what uses it, or choose another: make run PORT=9001"
            ) from error
        self._open.callback(server.stop)
        return server

    def _deploy(self) -> None:
        identity = "aurora.example"
        sender = f"licenses@{identity}"
        stack = Provisioned(TEMPLATE, {"Issuer": ISSUER, "MailSender": sender, "MailIdentity": identity})
        boto3.client("sesv2", region_name=REGION).create_email_identity(EmailIdentity=identity)
        self.outputs = stack.outputs
        found = list(functions(stack.document, stack.resolver))
        make_schedules(found)
        self.functions = Functions(found, self.directory / "functions.log")
        self._open.callback(self.functions.close)
        self.guard = Guard(lambda: self.functions.running, self.functions.log.write)
        self.aws.guard = self.guard
        os.environ.update({**found[0].environment, **PRIMARY.environment})
        if str(ROOT) not in sys.path:
            sys.path.insert(0, str(ROOT))

    def _load(self) -> None:
        """Make the keys, load the demo data, and write the vendor profile."""
        # Imported here: table names are read from the environment when these modules are imported.
        from licensing import deployment, key_ring, loading, seats, stations
        from licensing.rules.people import VENDOR
        from licensing.store import accounts
        from licensing.store import people as people_store
        from licensing.store import vendor as vendor_settings

        from infra.operator import keys

        self._open.enter_context(patch.object(deployment, "clock", self.clock))
        self._open.enter_context(patch.object(deployment, "loopback_webhooks", True))

        def forget() -> None:
            key_ring.ring.forget()
            vendor_settings.forget()
            people_store.forget()
            seats.forget()
            stations.forget()

        self._forget = forget
        forget()  # an earlier stack's, in the same process
        now = self.clock()
        root = f"kms:{self.outputs['RootKeyArn']}"
        keys.initialize(root, "kms", now)
        self.document = demo.read(self._demo_file, datetime.now(UTC).date())
        self.document["vendor"]["portal_url"] = self.sites[0].url
        self.activation_tokens = loading.load(self.document, now).activation_tokens
        vendor = self.document["vendor"]
        organizations = {"vendor": (VENDOR, vendor["name"])}
        organizations |= {each.tax_id: (each.reseller_id, each.name) for each in people_store.resellers().values()}
        for each in self.document["customers"]:
            organizations.setdefault(each["tax_id"], (accounts.find_by_tax_id(each["tax_id"]) or "", each["name"]))
        self.user_pool = UserPool(self.outputs)
        self.user_pool.make(demo.users(self._demo_file), organizations)
        self.vendor_profile = {
            "vendor": vendor["name"],
            "issuer": ISSUER,
            "sites": [site.url for site in self.sites],
            "root_keys": [keys.root_jwk(root)],
            "contact": vendor["contact"],
            "portal_url": self.sites[0].url,
        }
        self.vendor_file.write_text(json.dumps(self.vendor_profile, indent=2, ensure_ascii=False), encoding="utf-8")

    def _issue_keys(self) -> None:
        """Issue the demo's activation keys; the text of one that waits to be imported is a file."""
        from licensing import activation_keys
        from licensing.rules.operations import Origin
        from licensing.store import accounts

        by, now = Origin("vendor", "demo", "Demo"), self.clock().replace(microsecond=0)
        for each in demo.activation_keys(self._demo_file, datetime.now(UTC).date()):
            customer_id = accounts.find_by_tax_id(each.pop("customer")) or ""
            imported = each.pop("imported")
            terms = activation_keys.Terms(**{**each, "support": tuple(each["support"])})
            issued = activation_keys.issue(customer_id, terms, by, now)
            if imported:
                preview = activation_keys.preview(customer_id, issued.text, now)
                activation_keys.import_key(customer_id, preview.preview_id, by, now)
            else:
                self.key_file.write_text(issued.text, encoding="utf-8")

    def _order(self) -> None:
        """Take the demo's orders in, and send their e-mails."""
        from licensing import orders
        from licensing.contract_orders import NewOrder
        from licensing.rules.operations import Origin
        from licensing.rules.people import VENDOR, User

        erp = User("erp", "", "ERP", VENDOR)
        now = self.clock().replace(microsecond=0)
        for order, codes in demo.orders(self._demo_file, datetime.now(UTC).date()):
            named = iter(codes)
            orders.take_in(
                erp,
                NewOrder.model_validate(order),
                now,
                Origin("vendor", erp.user_id, erp.name),
                new_code=lambda sku, named=named: next(named),  # type: ignore[misc]
            )
        self._queues = [
            QueueSource(self.functions, function, trigger, PRIMARY)
            for function, trigger in self.functions.triggers("SQS")
        ]
        self.aws.hurry_queues()
        for queue in self._queues:
            queue.poll()
        self.demo_mail = list(self.aws.sent_mail)

    def _serve(self) -> None:
        # Each site's replica of a table has a stream, and each of them tells what either site wrote.
        self.streams = [
            StreamSource(self.functions, function, trigger, site)
            for function, trigger in self.functions.triggers("DynamoDB")
            for site in (PRIMARY, BACKUP)
        ]
        self.queues = Poller([*self._queues, *self.streams])
        pages = LocalPages(self)
        for location in (PRIMARY, BACKUP):
            self._applications[location.name] = self._reporting(
                location.name, pages, Gateway(self.functions, location, self.user_pool.claims)
            )
        self._applications["AWS"] = self.aws.application()
        self._aws_server.start()
        for site in self.sites:
            site.start()
        self.queues.start()
        self._open.callback(self.queues.stop)

    def _reporting(self, name: str, pages: LocalPages, gateway: Gateway) -> Application:
        def answer(request: Request) -> Response:
            begin = time.perf_counter()
            local = pages(request)
            response = local or gateway(request)
            if local is None:
                self.queues.wake()
                if self._report:
                    took = (time.perf_counter() - begin) * 1000
                    path = _SECRET.sub("/…", request.raw_path)
                    self._report(name, request.method, path, response.status, took)
            return response

        return answer


class _Directory(AbstractContextManager["_Directory"]):
    """The stack's directory, emptied, and held against a second stack."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: IO[str] | None = None

    def __enter__(self) -> "_Directory":
        import fcntl  # not on Windows, where the rest of this module can still be read

        marker = self._path / _MARKER
        if self._path.is_symlink() or (self._path.exists() and not marker.exists() and any(self._path.iterdir())):
            raise DirectoryTaken(f"{self._path} holds what is not the local stack's. Move it away, or use --directory.")
        self._path.mkdir(parents=True, exist_ok=True)
        self._lock = marker.open("a", encoding="utf-8")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise DirectoryTaken(f"Another local stack uses {self._path}. Stop it, or use --directory.") from error
        for each in self._path.iterdir():
            if each.is_dir() and not each.is_symlink():
                shutil.rmtree(each)
            elif each != marker:
                each.unlink()
        return self

    def __exit__(self, *exception: object) -> Literal[False]:
        if self._lock:
            self._lock.close()
        return False
