"""The original's FILE store, written record by record after the protocol's description."""

import struct
from pathlib import Path
from zlib import crc32

from google.protobuf.message import Message

from stan.wire.server_pb2 import ServerInfo, SubStateDelete, SubStateUpdate
from stan.wire.stan_pb2 import MsgProto

from .tables import CLUSTER

VERSION = (1).to_bytes(4, "little")
NEW, UPDATED, DELETED, ACKED, SENT = 1, 2, 3, 4, 5


def record(message: Message, kind: int = 0, crc: int | None = None) -> bytes:
    """A record with its header."""
    payload = message.SerializeToString()
    checksum = crc32(payload) if crc is None else crc
    return struct.pack("<II", kind << 24 | len(payload), checksum) + payload


def message(sequence: int, data: bytes = b"data", crc: int | None = None) -> bytes:
    """The record of a message; its time is 1000 times its sequence."""
    fields = {"sequence": sequence, "subject": "foo", "timestamp": sequence * 1000}
    return record(MsgProto(data=data, **fields), crc=crc)


def sent(number: int, sequence: int) -> bytes:
    return record(SubStateUpdate(ID=number, seqno=sequence), SENT)


def acked(number: int, sequence: int) -> bytes:
    return record(SubStateUpdate(ID=number, seqno=sequence), ACKED)


def deleted(number: int) -> bytes:
    return record(SubStateDelete(ID=number), DELETED)


def write(path: Path, *records: bytes, head: bytes = VERSION) -> Path:
    """A file of these records; its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + b"".join(records))
    return path


def write_server(folder: Path, cluster: str = CLUSTER) -> None:
    """What makes a folder the original's."""
    write(folder / "server.dat", record(ServerInfo(ClusterID=cluster)))
