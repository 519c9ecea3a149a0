"""SQS: keep the refusals that were in vain (F5)."""

import hashlib
from typing import Any

from licensing import deployment, seat_use


def handler(event: dict[str, Any], context: Any) -> None:
    """Entry point. The batch succeeds as a whole or comes again: it is folded as a whole."""
    records = event["Records"]
    ids = "\n".join(sorted(record["messageId"] for record in records))
    name = hashlib.sha256(ids.encode()).hexdigest()[:16]
    messages = [seat_use.Denied.model_validate_json(record["body"]) for record in records]
    seat_use.record_denials(name, messages, deployment.now())
