"""What is looked at in every answer beside Schemathesis' own checks, and the count of cases."""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from schemathesis import Case, CheckContext, HookContext, Response

from tests.fuzz.world import World

#: By caller: what stands in answers about customers that are none of theirs.
_OTHERS = {
    "administrator": ("Clínica Boa Vista", "Nordljus", "rafael.moreira", "Mirador", "Rheinhafen", "Porto Sereno"),
    "reseller": ("Clínica Boa Vista", "Nordljus", "rafael.moreira", "Porto Sereno", "Redes do Sul", "camila.prado"),
}


@dataclass
class Tally:
    """How many cases went to which route, and what was answered."""

    routes: Counter[str] = field(default_factory=Counter)
    statuses: dict[str, Counter[int]] = field(default_factory=dict)

    def add(self, route: str, status: int) -> None:
        """One more case."""
        self.routes[route] += 1
        self.statuses.setdefault(route, Counter())[status] += 1

    @property
    def only_refused(self) -> list[str]:
        """The routes that no case succeeded at."""
        return sorted(route for route, found in self.statuses.items() if not any(status < 300 for status in found))

    def __str__(self) -> str:
        return f"{sum(self.routes.values())} cases to {len(self.routes)} routes"


def _others(text: str, sent: str, caller: str) -> list[str]:
    return [name for name in _OTHERS.get(caller, ()) if name in text and name not in sent]


def install(world: World, caller: str) -> Tally:
    """Begin each route with a fresh world, count, and look."""
    tally = Tally()
    last = ""

    @schemathesis.hook
    def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
        nonlocal last
        stateful = case.meta is None or case.meta.phase.name.value == "stateful"
        if not stateful and case.operation.label != last:
            last = case.operation.label
            world.reset()
        if not stateful and case.meta.generation.mode.value == "positive" and tally.routes[last] % 3 == 0:
            path, body = world.fitting.get(last, ({}, {}))
            case.path_parameters = {**(case.path_parameters or {}), **path}
            if isinstance(case.body, dict):
                case.body = {**case.body, **body}
        if stateful:  # a replay names what may be gone since
            case.headers.pop("idempotency-key", None)

    @schemathesis.hook
    def after_call(context: HookContext, case: Case, response: Response) -> None:
        tally.add(case.operation.label, response.status_code)
        if case.operation.path == "/v1/validations" and response.status_code == 200:
            world.server.token = response.json().get("server_token") or world.server.token

    @schemathesis.check
    def a_method_without_a_route_reaches_nothing(ctx: CheckContext, response: Response, case: Case) -> None:
        """API Gateway's 404, where other servers say 405."""
        if case.method.lower() not in case.operation.schema.raw_schema["paths"][case.operation.path]:
            assert response.status_code == 404, f"{case.method} without a route: {response.status_code}"

    @schemathesis.check
    def every_error_has_a_code_that_the_document_names(ctx: CheckContext, response: Response, case: Case) -> None:
        if response.status_code < 400 or case.method.upper() != case.operation.method.upper():
            return
        documented = case.operation.definition.raw["responses"].get(str(response.status_code))
        said = response.json()
        if documented is None or "message" in said:  # another check's, and the gateway's own
            return
        assert said["status"] == response.status_code
        assert f"`{said['code']}`" in documented["description"], f"{said['code']} is not documented"

    @schemathesis.check
    def nothing_of_others(ctx: CheckContext, response: Response, case: Case) -> None:
        """Whatever a customer or a reseller asks for: no answer tells of anybody else's customer."""
        request = response.request
        sent = f"{request.url} {request.body!r} {json.dumps(str(case.body), ensure_ascii=False)}"
        assert not (found := _others(response.text, sent, caller)), f"tells of {found}"

    return tally
