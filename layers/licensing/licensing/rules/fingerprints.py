"""Is this still the same machine? (A7)"""

from collections.abc import Mapping

#: Component name to the base64url SHA-256 of its value.
Fingerprint = Mapping[str, str]


def same_machine(enrolled: Fingerprint, presented: Fingerprint) -> bool:
    """Whether more than half of the enrolled components came back unchanged.

    Counting against the enrolled ones means that sending fewer, or more, never helps a copy.
    """
    unchanged = sum(presented.get(name) == value for name, value in enrolled.items())
    return unchanged * 2 > len(enrolled)
