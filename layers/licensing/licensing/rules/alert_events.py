"""Alerts as events for machines (F7): on the bus, and in webhooks. The schemas are in docs/events."""

from collections.abc import Mapping
from datetime import UTC, timedelta
from typing import Any, Literal, get_args

from licensing.rules.alerts import ENDED, Alert, Finding, event_id
from licensing.rules.heartbeat import GRACE_DAYS

EventType = Literal[
    "LicenseExpiring",
    "LicenseExpired",
    "CareExpiring",
    "CareExpired",
    "ActivationKeyExpiring",
    "ActivationKeyExpired",
    "OfflineLicenseExpiring",
    "OfflineLicenseExpired",
    "ServerSilent",
    "SigningKeyDue",
    "Test",
]
EVENT_TYPES: tuple[EventType, ...] = get_args(EventType)
#: Raised by a change after which a reader of the former would go wrong; what is added does not raise it.
SCHEMA_VERSION = 1


def event_type(alert: Alert) -> EventType:
    """What an alert is called."""
    ended = alert.step == ENDED
    match alert.kind:
        case "silence":
            return "ServerSilent"
        case "signing_key":
            return "SigningKeyDue"
        case "care":
            return "CareExpired" if ended else "CareExpiring"
        case "activation_key":
            return "ActivationKeyExpired" if ended else "ActivationKeyExpiring"
        case "offline_license":
            return "OfflineLicenseExpired" if ended else "OfflineLicenseExpiring"
    return "LicenseExpired" if ended else "LicenseExpiring"


def event(finding: Finding, alert: Alert) -> tuple[EventType, dict[str, Any]]:
    """An alert's type, and its detail as JSON."""
    detail = {
        "schema_version": SCHEMA_VERSION,
        "event_id": event_id(finding.customer_id, alert),
        "occurred_at": finding.found_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "threshold_days": abs(alert.step),
        "passed_over_days": [abs(step) for step in alert.passed_over],
        **_facts(alert),
    }
    if alert.kind != "signing_key":
        detail["customer"] = {
            "customer_id": finding.customer_id,
            "name": finding.customer_name,
            "tax_id": finding.tax_id,
        }
    return event_type(alert), detail


def _facts(alert: Alert) -> Mapping[str, Any]:
    if alert.kind == "silence":
        return {
            "installation": {"installation_id": alert.subject_id, "name": alert.name, "hostname": alert.code},
            "last_validated_on": str(alert.day),
            "silent_days": alert.days,
            "blocked_on": str(alert.day + timedelta(days=GRACE_DAYS + 1)),
        }
    if alert.kind == "activation_key":
        return {
            "key": {"key_id": alert.subject_id, "group": alert.facts["group"]},
            "last_day": str(alert.day),
            "days_left": -alert.days,
        }
    if alert.kind == "offline_license":
        return {
            "installation": {"installation_id": alert.subject_id, "name": alert.name},
            "last_day": str(alert.day),
            "days_left": -alert.days,
        }
    if alert.kind == "signing_key":
        return {
            "key": {"kid": alert.subject_id, "use": alert.facts["use"]},
            "signing_since": alert.facts["signing_since"],
            "replace_by": str(alert.day),
            "days_left": -alert.days,
        }
    license = {
        "license_id": alert.subject_id,
        "license_code": alert.code,
        "sku": alert.facts["sku"],
        "name": alert.name,
        "type": alert.facts["type"],
    }
    if alert.kind == "care":
        return {"license": license, "care": alert.facts["care"], "care_until": str(alert.day), "days_left": -alert.days}
    return {"license": license, "last_day": str(alert.day), "days_left": -alert.days}
