"""stan-server import: bring the data of nats-streaming-server into an empty SQL store.

Exit code 0 when everything is over, 1 on any error (then run it again: it starts over), 2
for a command line that cannot be understood. Stop the original first: nothing keeps it from
writing while its data is read.
"""

import asyncio
import os
import sys
from functools import partial
from pathlib import Path

from stan.errors import StanError
from stan.flags import Flag, FlagError, HelpWanted, Parsed, parse_flags, read_bool, usage
from stan.identifiers import new_id
from stan.importing.file_origin import FileOrigin
from stan.importing.origin import Origin
from stan.importing.sql_origin import SqlOrigin
from stan.importing.transfer import Tally, Transfer
from stan.store.contract import Store
from stan.store.encryption import OVERHEAD_BYTES, Encryption
from stan.store.open import open_store
from stan.store.settings import StoreSettings

_KEY = "NATS_STREAMING_ENCRYPTION_KEY"
_FROM = "STAN_FROM_SOURCE"
FLAGS = [
    Flag(("from_source",), f"the original's -sql_source, else {_FROM}", ""),
    Flag(("from_driver",), "sqlite, postgres or mysql, when its source does not tell", ""),
    Flag(("from_dir",), "folder of the original's FILE store, as its -dir", ""),
    Flag(("from_crc",), "check the checksums of a FILE store", True, read_bool),
    Flag(("sql_source", "source"), "path or URL of our database, else STAN_SQL_SOURCE", ""),
    Flag(("sql_driver", "driver"), "sqlite, postgres or mysql, when our source does not tell", ""),
    Flag(("cluster_id", "cid"), "cluster ID of the new store, when not the original's", ""),
    Flag(("encryption_key",), f"key of an encrypted original; better in {_KEY}", ""),
    Flag(("encrypt",), "encrypt our store with the same key", False, read_bool),
    Flag(("encryption_cipher",), "AES or CHACHA, for our store", ""),
    Flag(("dry-run", "dry_run"), "read everything, write nothing", False, read_bool),
]
USAGE = usage("stan-server import [options]", FLAGS)


def main(argv: list[str]) -> int:
    """Run the command; returns its exit code."""
    try:
        parsed = parse_flags(FLAGS, argv)
        if parsed.arguments:
            raise FlagError(f"unexpected argument: {parsed.arguments[0]}")
        if bool(_from_source(parsed)) == bool(parsed["from_dir"]):
            raise FlagError("name the original's data by either -from_source or -from_dir")
    except HelpWanted:
        print(USAGE)
        return 0
    except FlagError as error:
        print(f"stan-server import: {error}\n{USAGE}", file=sys.stderr)
        return 2
    try:
        return asyncio.run(_import(parsed))
    except StanError as error:
        _warn(str(error))
    except KeyboardInterrupt:
        _warn("interrupted; nothing is imported until it runs to its end")
    return 1


async def _import(parsed: Parsed) -> int:
    encryption = _encryption(parsed)
    ours = encryption if parsed["encrypt"] else None
    origin = _origin(parsed)
    store = None if parsed["dry-run"] else _store(parsed, ours)
    transfer = Transfer(
        origin,
        store,
        decrypt=encryption.decrypt if encryption is not None else None,
        payload_overhead_bytes=OVERHEAD_BYTES if ours is not None else 0,
        say=_say,
        warn=_warn,
    )
    try:
        tally = await transfer.run(parsed["cluster_id"], f"_INBOX.{new_id()}")
    finally:
        await origin.close()
        if store is not None:
            await store.close()
    _say(_describe(tally, origin.location, store.location if store is not None else ""))
    return 0


def _origin(parsed: Parsed) -> Origin:
    if parsed["from_dir"]:
        return FileOrigin(Path(parsed["from_dir"]), _warn, check_crc=parsed["from_crc"])
    return SqlOrigin(parsed["from_driver"], _from_source(parsed))


def _from_source(parsed: Parsed) -> str:
    """The flag, or the environment's word, which no other user of the machine can see."""
    if parsed["from_source"] or parsed["from_dir"]:
        return str(parsed["from_source"])
    return os.environ.get(_FROM, "")


def _store(parsed: Parsed, encryption: Encryption | None) -> Store:
    settings = StoreSettings(
        sql_driver=parsed["sql_driver"],
        sql_source=parsed["sql_source"] or os.environ.get("STAN_SQL_SOURCE", ""),
        beside_original=True,
        encryption=encryption,
        deliver_encrypted=True,  # without a key, what is encrypted comes over as it is
    )
    return open_store("SQL", settings)


def _encryption(parsed: Parsed) -> Encryption | None:
    """What reads the original's payloads, and may write ours. Raises ConfigError."""
    key = os.environ.get(_KEY) or parsed["encryption_key"]
    if key or parsed["encrypt"]:
        return Encryption(key, parsed["encryption_cipher"])
    return None


def _describe(tally: Tally, origin: str, store: str) -> str:
    left = f"connected clients: {tally.clients_left}, other subscriptions: "
    left += str(tally.subscriptions_left)
    return (
        f'{origin}: cluster "{tally.cluster_id}", channels: {tally.channels}, messages: '
        f"{tally.messages} ({tally.payload_bytes} bytes), durables: {tally.durables} "
        f"(unacknowledged messages: {tally.pending}), {_outcome(store)}. Left behind: {left}."
    )


def _outcome(store: str) -> str:
    return f"imported into {store}" if store else "not imported: this was a dry run"


_say = partial(print, flush=True)


def _warn(line: str) -> None:
    print(f"stan-server import: {line}", file=sys.stderr, flush=True)
