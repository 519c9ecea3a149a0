"""The license table: who gets how much, and adding servers to it (B4)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter
from licensing import administration, allocations
from licensing.customers import account_for
from licensing.errors import LicensingError, NameTaken, TooManyChanges
from licensing.http.pages import Visit, explain, form, page, see_other, visit
from licensing.rules import access
from licensing.rules.accounts import Account
from licensing.rules.allocations import Cell, Merge, Row, care_ends_soon, rows
from licensing.rules.entitlements import Mode
from licensing.rules.installations import Overview
from licensing.store.vendor import catalogue
from licensing.texts import mark

from functions.serve_portal.servers import PURPOSES, server_fields

router = APIGatewayHttpRouter()  # type: ignore[no-untyped-call]

#: Servers shown at once; the table goes on to the next.
_COLUMNS = 12
#: How many rows are shown at once, with what a row and each of its licenses take of it: a page stays below 100 KB.
_ROOM, _ROW, _LICENSE = 160, 3, 1
_WHOLE = re.compile(r"[0-9]{1,9}")
Place = tuple[str, str]


class NotWhole(LicensingError):
    """Raised when what was entered as a quantity is none."""

    code, status = "INVALID_REQUEST", 422
    detail = mark("Quantities are whole numbers from 0 to 999999999. What is not one is marked.")


@dataclass(slots=True)
class Entered:
    """What a form brought: quantities by row and server, as text; what each was when it was shown; and what came of it."""

    texts: dict[Place, str] = field(default_factory=dict)
    shown: dict[Place, int] = field(default_factory=dict)
    wrong: set[Place] = field(default_factory=set)
    merge: Merge = field(default_factory=Merge)
    #: The row that a refusal names.
    row_id: str | None = None

    def cells(self) -> list[Cell]:
        """The same as quantities. Raises NotWhole."""
        self.wrong = {place for place, text in self.texts.items() if text and not _WHOLE.fullmatch(text)}
        if self.wrong:
            raise NotWhole
        return [Cell(*place, self.shown[place], int(text or 0)) for place, text in self.texts.items()]

    def value(self, place: Place, quantity: int) -> str:
        """What a field holds: what was entered where that was a wish, else what is there."""
        text = self.texts.get(place)
        return str(quantity or "") if text is None or place in self.merge.elsewhere or not self._wished(place) else text

    def used(self, row: Row) -> int:
        """What would be assigned of a row, with what was entered."""
        wishes = {place: text for place, text in self.texts.items() if place[0] == row.row_id and self._wished(place)}
        changes = (
            int(text or 0) - row.quantities.get(place[1], 0)
            for place, text in wishes.items()
            if not text or _WHOLE.fullmatch(text)
        )
        return row.used + sum(changes)

    def note(self, place: Place) -> str:
        """What a field needs to be looked at for: ``wrong``, ``conflict``, ``elsewhere``, or nothing."""
        if place in self.wrong:
            return "wrong"
        return "conflict" if place in self.merge.conflicts else "elsewhere" if place in self.merge.elsewhere else ""

    def _wished(self, place: Place) -> bool:
        return self.texts[place] != str(self.shown[place] or "")


@router.get("/portal/customers/<customer_id>")
def show(customer_id: str) -> Response[str]:
    """The table."""
    here = visit(router)
    return _table(here, account_for(here.signed_in, customer_id, "customer.read"), Entered())


@router.post("/portal/customers/<customer_id>/allocations")
def save(customer_id: str) -> Response[str]:
    """Save what was changed; what can't be saved comes back as it was entered, with the reason."""
    here = visit(router)
    fields = form(here)
    account = account_for(here.signed_in, customer_id, "allocation.change")
    entered = _entered(fields)
    try:
        allocations.save_cells(customer_id, entered.cells(), here.by, here.now)
    except allocations.Overtaken as error:
        entered.merge = error.merge
        account = account_for(here.signed_in, customer_id, "allocation.change")
        return _table(here, account, entered, error)
    except (NotWhole, TooManyChanges) as error:
        return _table(here, account, entered, error)
    except LicensingError as error:
        if error.status != 409:
            raise
        entered.row_id = error.members.get("row")
        return _table(here, account, entered, error)
    return see_other(here, f"/portal/customers/{customer_id}", "saved", **_view(here))


@router.post("/portal/customers/<customer_id>/servers")
def add_server(customer_id: str) -> Response[str]:
    """Add a server: a column of the table."""
    here = visit(router)
    fields = form(here)
    account = account_for(here.signed_in, customer_id, "installation.operate")
    try:
        name, purpose = server_fields(fields)
        mode: Mode = "offline" if fields.get("mode") == "offline" else "online"
        administration.create_installation(customer_id, name, purpose, mode, here.by, here.now)
    except NameTaken as error:
        return _table(here, account, Entered(), error, name=fields.get("name", ""))
    return see_other(here, f"/portal/customers/{customer_id}", "server-added")


def _entered(fields: Mapping[str, str]) -> Entered:
    """The form's fields: ``columns`` and ``row-N`` say what was shown, ``q-N-M`` what was entered. What is none is left out."""
    entered = Entered()
    columns = fields.get("columns", "").split()
    for name, value in fields.items():
        if not (name.startswith("row-") and value):
            continue
        row_id, *shown = value.split()
        for column, (server, quantity) in enumerate(zip(columns, shown, strict=False)):
            text = fields.get(f"q-{name.removeprefix('row-')}-{column}")
            if text is not None and _WHOLE.fullmatch(quantity):
                entered.texts[row_id, server], entered.shown[row_id, server] = text, int(quantity)
    return entered


def _table(
    here: Visit, account: Account, entered: Entered, error: LicensingError | None = None, name: str = ""
) -> Response[str]:
    servers = sorted(administration.overviews(account, here.now), key=lambda each: each.installation.name.casefold())
    names = [each.installation.installation_id for each in servers]
    after = here.query("after")
    start = names.index(after) + 1 if after in names else 0
    all_rows = rows(account, catalogue(), here.now)
    pages = _pages(all_rows)
    ids = [each[0].row_id for each in pages]
    at = ids.index(here.query("rows")) if here.query("rows") in ids else 0
    above = sum(map(len, pages[:at]))
    shown = pages[at] if pages else []
    return page(
        here,
        "licenses",
        error.status if error else 200,
        customer=account.customer,
        rows=shown,
        row_place=(above + 1, above + len(shown), len(all_rows)),
        rows_before=ids[at - 1] if at else None,
        rows_after=ids[at + 1] if at + 1 < len(ids) else None,
        view=_view(here),
        today=account.customer.today(here.now),
        servers=servers[start : start + _COLUMNS],
        earlier=_earlier(names, start),
        later=names[start + _COLUMNS - 1] if len(names) > start + _COLUMNS else None,
        place=(start + 1, min(start + _COLUMNS, len(names)), len(names)),
        entered=entered,
        lost=_lost(account, entered.merge),
        may_assign=access.may(here.signed_in, "allocation.change"),
        is_open=_is_open,
        care_ends_soon=care_ends_soon,
        purposes=PURPOSES,
        new_name=name,
        error=explain(here.language, error) if error else None,
    )


def _view(here: Visit) -> dict[str, str]:
    """Which part of the table is shown: after which server, from which row."""
    return {name: here.query(name) for name in ("after", "rows") if here.query(name)}


def _pages(all_rows: list[Row]) -> list[list[Row]]:
    """The rows as they are shown together, at least one at a time."""
    pages: list[list[Row]] = []
    room = 0
    for row in all_rows:
        takes = _ROW + _LICENSE * len(row.licenses)
        if takes > room:
            pages.append([])
            room = _ROOM
        pages[-1].append(row)
        room -= takes
    return pages


def _earlier(names: list[str], start: int) -> str | None:
    """After which server the previous columns begin; empty for the first."""
    if not start:
        return None
    before = max(0, start - _COLUMNS)
    return names[before - 1] if before else ""


def _is_open(row: Row, server: Overview) -> bool:
    """Whether a quantity can be changed: what is over, or on a disabled server, can only be taken back."""
    closed = row.over or server.installation.disabled
    return not closed or bool(row.quantities.get(server.installation.installation_id))


def _lost(account: Account, merge: Merge) -> list[tuple[str, str, int]]:
    """Wishes for rows and servers that are not there any more, in words: application, server, quantity."""
    applications = catalogue().applications
    found = []
    for cell in merge.gone:
        application = applications.get(cell.row_id.rpartition(".")[0])
        server = account.installations.get(cell.installation_id)
        found.append((application.name if application else "–", server.name if server else "–", cell.wanted))
    return found
