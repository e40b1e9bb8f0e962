"""Fixtures: the database servers of the store's suite."""

import pytest

from tests.store.conftest import mysql_server, postgres_server
from tests.tools.databases import DatabaseServer

__all__ = ["mysql_server", "postgres_server"]


@pytest.fixture(params=["postgres", "mysql"])
def database_server(request: pytest.FixtureRequest) -> DatabaseServer:
    server: DatabaseServer = request.getfixturevalue(f"{request.param}_server")
    return server
