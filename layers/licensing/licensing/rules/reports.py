"""What a server says of itself at activation and at each validation."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from licensing.rules.fingerprints import Fingerprint


@dataclass(frozen=True, slots=True)
class Report:
    """All that seldom changes from one day to the next. ``usage`` changes daily and is kept apart."""

    fingerprint: Fingerprint = field(default_factory=dict)
    hostname: str = ""
    time_zone: str = "UTC"
    app_version: str | None = None
    agent_version: str = "0"
    databases: tuple[str, ...] = ()

    def digest(self) -> str:
        """Equal for equal reports: a validation that has nothing new to say can be one conditional write."""
        parts: Mapping[str, object] = {
            "fingerprint": dict(sorted(self.fingerprint.items())),
            "hostname": self.hostname,
            "time_zone": self.time_zone,
            "app_version": self.app_version,
            "agent_version": self.agent_version,
            "databases": sorted(self.databases),
        }
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
