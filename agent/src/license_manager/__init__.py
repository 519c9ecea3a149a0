"""The License Manager: activates a server, validates it daily, and answers "may I run?" offline.

A product needs only this page::

    import license_manager

    answer = license_manager.check(root_keys=ROOT_KEYS)
    if not answer.may("advanced-queueing"):
        print(answer.reason)

Importing this package loads neither the HTTP client nor the command line.
"""

from .checking import Check, Entitlement, Licensed, NotLicensed, check, licensed
from .reporting import report
from .version import __version__

__all__ = ["Check", "Entitlement", "Licensed", "NotLicensed", "__version__", "check", "licensed", "report"]
