"""Copies of the seals in S3, under object lock: what nobody who may write the table can take back."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from licensing import deployment
from licensing.errors import TemporarilyUnavailable
from licensing.rules.seals import is_day


@contextmanager
def _named_trouble() -> Iterator[None]:
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise TemporarilyUnavailable from error


def put(customer_id: str, day: date, jws: str) -> None:
    """Keep a copy; a second one of the same day hides the first from nobody. Raises TemporarilyUnavailable."""
    with _named_trouble():
        deployment.aws_client("s3").put_object(
            Bucket=deployment.seal_bucket(), Key=f"{_prefix(customer_id)}{day}", Body=jws.encode()
        )


@dataclass(frozen=True, slots=True)
class Copy:
    """The first copy of the seal of a day (ISO)."""

    day: str
    key: str
    version_id: str

    def read(self) -> str:
        """What was kept. Raises TemporarilyUnavailable."""
        with _named_trouble():
            body = deployment.aws_client("s3").get_object(
                Bucket=deployment.seal_bucket(), Key=self.key, VersionId=self.version_id
            )["Body"]
            text: str = body.read().decode(errors="replace")
            return text


def since(customer_id: str, first: date) -> dict[str, Copy]:
    """The first copy of each day (ISO) from one on, oldest day first. Raises TemporarilyUnavailable."""
    prefix, beginning = _prefix(customer_id), f"{_prefix(customer_id)}{first}"
    with _named_trouble():
        pages = (
            deployment.aws_client("s3")
            .get_paginator("list_object_versions")
            .paginate(Bucket=deployment.seal_bucket(), Prefix=prefix, KeyMarker=beginning[:-1])
        )
        versions: list[Any] = [each for page in pages for each in page.get("Versions", [])]
    oldest = {each["Key"]: each for each in sorted(versions, key=lambda each: each["LastModified"], reverse=True)}
    copies = [Copy(key.removeprefix(prefix), key, each["VersionId"]) for key, each in sorted(oldest.items())]
    return {each.day: each for each in copies if each.key >= beginning and is_day(each.day)}


def _prefix(customer_id: str) -> str:
    return f"seals/{customer_id}/"
