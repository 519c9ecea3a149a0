"""Every day: queue the sealing and cleaning of all customers' operation logs (A9)."""

from typing import Any

from licensing import deployment, log_cleanup


def handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    """Entry point. Only the home site cleans; run twice, it queues twice, and the second finds nothing left."""
    return {"queued": log_cleanup.fan_out() if deployment.is_home_site() else 0}
