"""Seats over HTTP (C2-C8, C11, C13, F1)."""

from datetime import timedelta
from typing import Any

import pytest
from licensing import seats
from licensing.rules.operations import Origin

from tests.support.cloud import Cloud, Server, problem
from tests.support.seats import Pool, Station, concurrent_pool, crowd


@pytest.fixture
def pool(cloud: Cloud, server: Server) -> Pool:
    return concurrent_pool(cloud, server, 3)


def test_seats_are_given_out_up_to_the_limit_and_no_further(pool: Pool) -> None:
    answers = [station.lease() for station in crowd(pool, 4)]
    assert [answer.status_code for answer in answers] == [201, 201, 201, 409]
    assert [answer.json()["in_use"] for answer in answers] == [1, 2, 3, 3]
    refused = answers[-1].json()
    assert problem(answers[-1]) == (409, "SEAT_LIMIT_REACHED")
    assert refused["capacity"] == 3
    assert 1 <= refused["retry_after"] <= 60
