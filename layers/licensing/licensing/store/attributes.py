"""How plain data is kept in an attribute."""

import zlib
from functools import cached_property
from typing import Any, TypeVar

from pydantic import TypeAdapter
from pynamodb.attributes import Attribute
from pynamodb.constants import BINARY, STRING

T = TypeVar("T")


class Json(Attribute[Any]):
    """Any plain data (dataclasses too) as compact JSON text."""

    attr_type = STRING

    def __init__(self, shape: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._shape = shape

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        # At the first use: a function imports many items, and reads few of them.
        return TypeAdapter(self._shape)

    def serialize(self, value: Any) -> str:
        """Data to text."""
        return self._adapter.dump_json(value, exclude_defaults=True).decode()

    def deserialize(self, value: str) -> Any:
        """Text to data."""
        return self._adapter.validate_json(value)


class PublicJwk(Attribute[Any]):
    """A public P-256 key, which is all that is in its JWK beside the two coordinates."""

    attr_type = STRING

    def serialize(self, value: Any) -> str:
        """JWK to coordinates."""
        return f"{value['x']} {value['y']}"

    def deserialize(self, value: str) -> dict[str, str]:
        """Coordinates to JWK."""
        x, y = value.split(" ")
        return {"kty": "EC", "crv": "P-256", "x": x, "y": y}


class CompressedJson(Json):
    """The same, deflated: twenty entitlements in about one kilobyte, so that a read stays one unit."""

    attr_type = BINARY

    def serialize(self, value: Any) -> bytes:  # type: ignore[override]
        """Data to deflated text."""
        return zlib.compress(super().serialize(value).encode())

    def deserialize(self, value: bytes) -> Any:  # type: ignore[override]
        """Deflated text to data."""
        return super().deserialize(zlib.decompress(value).decode())
