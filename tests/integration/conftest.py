"""One stack for all integration tests, gone with the last of them: there can be one in a process. Each test begins with the
demo data.
"""

from collections.abc import Iterator
from types import SimpleNamespace

import httpx
import pytest

from infra.local.stack import Stack
from tests.support.cloud import Cloud, Server


@pytest.fixture(scope="package")
def running_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(directory=tmp_path_factory.mktemp("stack")) as stack:
        stack.queues.stop()  # tests work the queue off themselves
        yield stack


@pytest.fixture(autouse=True, scope="package")
def _no_pause_between_tries() -> Iterator[None]:
    """botocore's standard retry mode waits up to a second before each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda seconds: None))
        yield


@pytest.fixture
def cloud(running_stack: Stack) -> Iterator[Cloud]:
    running_stack.reset()
    # Without TLS: reading the certificates of the world takes longer than many a test.
    with httpx.Client(trust_env=False, timeout=120, verify=False) as client:
        yield Cloud(running_stack, client)


@pytest.fixture
def server(cloud: Cloud) -> Server:
    """The Milano server, activated."""
    server = Server(cloud)
    answer = server.activate(cloud.token_of("Milano"))
    assert answer.status_code == 201, answer.text
    return server
