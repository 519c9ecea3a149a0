"""The Seats table's stream: when how many seats of which pool were in use (C8)."""

from typing import Any

from licensing import deployment, seat_use
from licensing.store.seats import segment_of_image


def handler(event: dict[str, Any], context: Any) -> None:
    """Entry point. A batch that fails comes again as a whole; what it told before does no harm."""
    if not deployment.is_home_site():
        return  # seats are given out at one site, and that one records what becomes of them
    now = deployment.now()
    by_pool: dict[str, list[seat_use.Change]] = {}
    for record in event["Records"]:
        change = record["dynamodb"]
        keys = change["Keys"]
        if not keys["sk"]["S"].startswith(("SEG#", "SUPPORT")):
            continue
        before, after = change.get("OldImage"), change.get("NewImage")
        by_pool.setdefault(keys["pk"]["S"], []).append(
            seat_use.Change(
                before=segment_of_image(before) if before else None,
                after=segment_of_image(after) if after else None,
                at=int((after or before)["t"]["N"]),
                name=change["SequenceNumber"],
            )
        )
    for pool_id, changes in by_pool.items():
        seat_use.record(pool_id, changes, now)
