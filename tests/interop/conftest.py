"""Fixtures of the interop suite: one server for all scenarios, each driver built once.

STAN_TEST_SERVER chooses the server as in the conformance suite. A client whose tools this
machine lacks is skipped with the reason, unless STAN_REQUIRE_INTEROP=1 asks for all of them.
"""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.tools.processes import NatsServer
from tests.tools.streaming_server import StreamingServer, implementation_under_test

from .drivers import DRIVERS, Driver, DriverFailed

GetDriver = Callable[[str], Driver]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamingServer]:
    """The server under test, with a persistent store and room for many channels."""
    implementation = implementation_under_test()
    nats_server = NatsServer().start()
    shared = StreamingServer(
        implementation,
        nats_server.url,
        implementation.persistent_store,
        tmp_path_factory.mktemp("interop"),
        ("-mc", "0"),
    )
    shared.start()
    yield shared
    shared.stop()
    nats_server.stop()


@pytest.fixture(scope="session")
def get_driver() -> GetDriver:
    """A driver by its name, built at its first use; skips what cannot be built here."""
    required = os.environ.get("STAN_REQUIRE_INTEROP") == "1"
    ready: dict[str, str] = {}

    def get(name: str) -> Driver:
        driver = DRIVERS[name]
        if name not in ready:
            ready[name] = failure_to_prepare(driver)
        if ready[name]:
            if required:
                pytest.fail(ready[name])
            pytest.skip(ready[name])
        return driver

    return get


def failure_to_prepare(driver: Driver) -> str:
    """Build a driver; why it cannot be used, or nothing."""
    if missing := driver.missing():
        return f"the {driver.name} client needs {', '.join(missing)}"
    try:
        driver.prepare()
    except DriverFailed as error:
        return f"the {driver.name} client could not be built: {error}"
    return ""
