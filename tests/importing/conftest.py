"""Fixtures: the original's tables in an SQLite file, and a store of ours beside it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stan.importing.sql_origin import SqlOrigin
from stan.importing.transfer import Tally, Transfer
from stan.store.contract import Store
from stan.store.open import open_store
from stan.store.settings import StoreSettings

from .tables import OriginalTables


class Ground:
    """An original in one file, a store of ours in another, and imports between them."""

    def __init__(self, folder: Path) -> None:
        self.source = str(folder / "original.db")
        self.target = str(folder / "stan.db")
        self.tables = OriginalTables("sqlite", self.source)
        self.warnings: list[str] = []
        self.said: list[str] = []
        self._stores: list[Store] = []

    def store(self) -> Store:
        store = open_store("SQL", StoreSettings(sql_source=self.target))
        self._stores.append(store)
        return store

    async def run(self, cluster_id: str = "", *, rehearse: bool = False) -> Tally:
        """Import, and let go of both sides."""
        origin = SqlOrigin("", self.source)
        store = None if rehearse else self.store()
        transfer = Transfer(origin, store, say=self.said.append, warn=self.warnings.append)
        try:
            return await transfer.run(cluster_id, "_INBOX.new")
        finally:
            await origin.close()
            if store is not None:
                await store.close()

    async def opened(self) -> Store:
        store = self.store()
        await store.open()
        return store

    async def close(self) -> None:
        for store in self._stores:
            await store.close()
        await self.tables.close()


@pytest.fixture
async def ground(tmp_path: Path) -> AsyncIterator[Ground]:
    """An original that was started once, without channels."""
    ground = Ground(tmp_path)
    await ground.tables.create()
    yield ground
    await ground.close()
