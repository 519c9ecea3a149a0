"""The License Manager's own version, sent with every request (A8)."""

__version__ = "1.0.0"
