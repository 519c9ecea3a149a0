"""Servers in the operation log, told by the State table's stream (A9): no validation waits for the log, or fails with it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from licensing import deployment
from licensing.operations import operation_id, record
from licensing.rules.operations import Operation, Origin
from licensing.rules.sequence import ServerState
from licensing.rules.server_log import events
from licensing.store import servers


def record_change(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None, now: datetime) -> int:
    """Record what one write of a server's item tells; however often it is told, once. Returns how many entries are new.

    ``old`` and ``new`` are the images in the stream's record. A write of the other site, which reaches this one by replication, is
    for that site to record. Raises TemporarilyUnavailable.
    """
    after = servers.image(new)
    if after is None or after.site != deployment.site():
        return 0
    before = servers.image(old)
    server = Origin("server", after.installation_id, after.state.report.hostname, after.address, after.request_id)
    recorded = 0
    for event in events(before.state if before else ServerState(), after.state):
        key = f"{after.installation_id} {after.state.gen} {after.state.seq} {event.action}"
        told = Operation(
            operation_id=operation_id(key, event.at),
            customer_id=after.customer_id,
            at=event.at,
            by=server,
            action=event.action,
            subject_id=after.installation_id,
            details=event.details,
        )
        recorded += record(told, now)
    return recorded
