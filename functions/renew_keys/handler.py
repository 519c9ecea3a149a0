"""Every day: prepare the activation keys of the next year, and send them (C1)."""

from typing import Any

from licensing import activation_keys, deployment, key_mail


def handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    """Entry point; runs at the home site only. What could not be sent makes it fail, and is tried again."""
    if not deployment.is_home_site():
        return {"sent": 0}
    now = deployment.now()
    return {"sent": activation_keys.renew_due(now, lambda issued: key_mail.send(issued, now))}
