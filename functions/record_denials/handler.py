"""SQS: keep the refusals that were in vain (F5)."""

from typing import Any

from licensing import deployment, seat_use


def handler(event: dict[str, Any], context: Any) -> None:
    """Entry point. The batch succeeds as a whole or comes again, be it in other batches."""
    messages = [seat_use.Denied.model_validate_json(record["body"]) for record in event["Records"]]
    seat_use.record_denials(messages, deployment.now())
