"""Copies of the seals in S3, under object lock: what nobody who may write the table can take back."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from licensing import deployment
from licensing.errors import TemporarilyUnavailable


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


def get_all(customer_id: str, first: date, last: date) -> dict[str, str]:
    """The first copy of each day (ISO). Raises TemporarilyUnavailable."""
    client, prefix = deployment.aws_client("s3"), _prefix(customer_id)
    with _named_trouble():
        pages = client.get_paginator("list_object_versions").paginate(Bucket=deployment.seal_bucket(), Prefix=prefix)
        versions: list[Any] = [each for page in pages for each in page.get("Versions", [])]
        oldest = {each["Key"]: each for each in sorted(versions, key=lambda each: each["LastModified"], reverse=True)}
        found = {key.removeprefix(prefix): each for key, each in oldest.items()}
        return {day: _text(client, each) for day, each in sorted(found.items()) if str(first) <= day <= str(last)}


def _text(client: Any, version: Any) -> str:
    named = {"Bucket": deployment.seal_bucket(), "Key": version["Key"], "VersionId": version["VersionId"]}
    text: str = client.get_object(**named)["Body"].read().decode()
    return text


def _prefix(customer_id: str) -> str:
    return f"seals/{customer_id}/"
