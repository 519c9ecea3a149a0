"""A stack and a browser for the tests of a module: there can be one stack in a process."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from infra.local.stack import Stack
from tests.e2e.browser import chromium


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(directory=tmp_path_factory.mktemp("stack")) as stack:
        yield stack


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser
