"""aiohttp, which nats-py speaks WebSocket with, loaded only when somebody does.

nats-py imports it with itself, which is more than half of what `import stan` would take.
So while nats-py is loaded it finds a stand-in, which becomes the real module at first use.
Everybody else always finds the real one.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

_NAMES = ("aiohttp", "multidict")


class _StandIn(ModuleType):
    """A module that is loaded when something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        _forget(self)
        return getattr(importlib.import_module(self.__name__), name)


def load_nats_client() -> None:
    """Import nats-py's client without aiohttp. Nothing happens when it is there already."""
    if "nats.aio.transport" in sys.modules:
        return
    stand_ins = [_StandIn(name) for name in _NAMES if name not in sys.modules]
    sys.modules.update({module.__name__: module for module in stand_ins})
    try:
        importlib.import_module("nats.aio.transport")
    finally:
        for module in stand_ins:
            _forget(module)


def _forget(module: ModuleType) -> None:
    if sys.modules.get(module.__name__) is module:
        del sys.modules[module.__name__]
