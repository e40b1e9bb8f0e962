"""Fixtures: the database servers of the store's suite."""

from tests.store.conftest import mysql_server, postgres_server

__all__ = ["mysql_server", "postgres_server"]
