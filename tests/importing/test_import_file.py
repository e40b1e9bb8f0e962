"""The original's FILE store: the layout of the protocol's section 6.4, torn ends, damage."""

from pathlib import Path
from typing import Any

import pytest

from stan.engine.records import Recovered
from stan.errors import OriginError
from stan.importing.file_origin import FileOrigin
from stan.importing.origin import OriginChannel
from stan.importing.transfer import Tally, Transfer
from stan.store.contract import Store
from stan.store.memory import MemoryStore
from stan.wire.server_pb2 import ClientDelete, ClientInfo

from . import files
from .reading import bounds_of, read_channel, subscriptions_of
from .tables import durable, member, plain


class Ground:
    """A folder of the original's, and the store that it is imported into."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store: Store = MemoryStore()
        self.warnings: list[str] = []
        files.write_server(folder)

    def slice(self, *records: bytes, number: int = 1) -> Path:
        """A file with messages of the channel foo."""
        return files.write(self.folder / "foo" / f"msgs.{number}.dat", *records)

    def subscriptions(self, *records: bytes) -> Path:
        return files.write(self.folder / "foo" / "subs.dat", *records)

    async def run(self, *, check_crc: bool = True) -> Tally:
        self.store = MemoryStore()
        origin = FileOrigin(self.folder, self.warnings.append, check_crc=check_crc)
        transfer = Transfer(origin, self.store, warn=self.warnings.append)
        try:
            return await transfer.run("", "_INBOX.new")
        finally:
            await origin.close()

    async def recovered(self) -> Recovered:
        return await self.store.recover()

    async def sequences(self) -> list[int]:
        found = await read_channel(self.store, await self.recovered(), "foo")
        return [message.sequence for message in found]


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path / "store")


async def test_slices_are_read_in_the_order_of_their_numbers(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stan.importing.file_origin.PIECE_MESSAGES", 2)
    ground.slice(files.message(5), number=10)
    ground.slice(files.message(1), files.message(2, b""), files.message(3), number=2)
    ground.slice(number=9)
    tally = await ground.run()
    assert await ground.sequences() == [1, 2, 3, 5]
    assert (tally.messages, tally.payload_bytes) == (4, 12)
    assert ground.warnings == []


async def test_an_empty_header_ends_a_file(ground: Ground) -> None:
    ground.slice(files.message(1), bytes(8), files.message(2))
    ground.subscriptions(bytes(64))
    await ground.run()
    assert await ground.sequences() == [1]
    assert ground.warnings == []


@pytest.mark.parametrize("lost", [1, 20])
async def test_a_torn_record_ends_the_last_file(ground: Ground, lost: int) -> None:
    whole = files.message(2)
    path = ground.slice(files.message(1), whole[:-lost])
    await ground.run()
    assert await ground.sequences() == [1]
    offset = 4 + len(files.message(1))
    assert ground.warnings == [
        f"{path} ends in the middle of the record at offset {offset}; "
        f"the {len(whole) - lost} bytes from there on are left out"
    ]


async def test_a_last_record_with_a_wrong_checksum_is_torn(ground: Ground) -> None:
    ground.slice(files.message(1), files.message(2, crc=1))
    await ground.run()
    assert await ground.sequences() == [1]
    assert len(ground.warnings) == 1


async def test_a_torn_record_elsewhere_is_damage(ground: Ground) -> None:
    path = ground.slice(files.message(1)[:-1], number=1)
    ground.slice(files.message(2), number=2)
    with pytest.raises(OriginError, match=f"^{path} ends in the middle of the record at offset 4$"):
        await ground.run()


async def test_a_wrong_checksum_names_file_and_offset(ground: Ground) -> None:
    path = ground.slice(files.message(1), files.message(2, crc=1), files.message(3))
    offset = 4 + len(files.message(1))
    expected = f"^{path} is damaged: the record at offset {offset} does not match its checksum$"
    with pytest.raises(OriginError, match=expected):
        await ground.run()
    await ground.run(check_crc=False)
    assert await ground.sequences() == [1, 2, 3]


async def test_sequences_that_do_not_rise_are_damage(ground: Ground) -> None:
    ground.slice(files.message(2), files.message(2))
    with pytest.raises(OriginError, match="has sequence 2, although the one before it has 2"):
        await ground.run()


@pytest.mark.parametrize("head", [b"\x02\0\0\0", b"\x01\0"])
async def test_another_version_is_refused(ground: Ground, head: bytes) -> None:
    path = files.write(ground.folder / "foo" / "msgs.1.dat", head=head)
    with pytest.raises(OriginError, match=f"^{path} is not a data file of nats-streaming-server"):
        await ground.run()


async def test_subscriptions_are_what_their_records_add_up_to(ground: Ground) -> None:
    ground.slice(*map(files.message, range(1, 8)))
    closed = durable(1, "me", "dur", isClosed=True, maxInFlight=3)
    ground.subscriptions(
        files.record(durable(1, "me", "dur"), files.NEW),
        files.record(member(2, "me", "dur:group", lastSent=4), files.NEW),
        files.record(durable(3, "me", "left"), files.NEW),
        files.record(plain(4, "me"), files.NEW),
        *(files.sent(1, sequence) for sequence in (1, 2, 3)),
        files.acked(1, 2),
        files.record(closed, files.UPDATED),
        files.deleted(3),
        files.acked(3, 1),
    )
    tally = await ground.run()
    single, group = subscriptions_of(await ground.recovered(), "foo")
    assert (single.durable_name, single.in_flight, single.last_sent) == ("dur", (1, 3), 3)
    assert single.max_in_flight == 3
    assert (group.queue_group, group.in_flight, group.last_sent) == ("dur:group", (), 4)
    assert (tally.durables, tally.subscriptions_left) == (2, 1)


async def test_a_position_beyond_the_messages_counts(ground: Ground) -> None:
    ground.subscriptions(files.record(durable(1, "me", "dur", lastSent=8), files.NEW))
    ground.slice()
    await ground.run()
    bounds = bounds_of(await ground.recovered(), "foo")
    assert (bounds.first_sequence, bounds.last_sequence) == (9, 8)


async def test_messages_lost_at_the_end_cost_no_other_ones(ground: Ground) -> None:
    """As after a power cut that spared the subscriptions: the original, too, delivers what
    is left, and numbers from there on."""
    ground.slice(*map(files.message, range(1, 4)))
    ground.subscriptions(
        files.record(durable(1, "me", "fast"), files.NEW),
        files.record(durable(2, "me", "slow"), files.NEW),
        *(files.sent(1, sequence) for sequence in range(1, 6)),
        *(files.acked(1, sequence) for sequence in range(1, 5)),
        files.sent(2, 1),
    )
    await ground.run()
    assert await ground.sequences() == [1, 2, 3]
    fast, slow = subscriptions_of(await ground.recovered(), "foo")
    assert (fast.last_sent, fast.in_flight) == (3, ())
    assert (slow.last_sent, slow.in_flight) == (1, (1,))
    (warning,) = ground.warnings
    assert warning.endswith(
        "up to 5, and the last one that is left is 3: they go on after that one"
    )


async def test_clients_are_counted(ground: Ground) -> None:
    added = [files.record(ClientInfo(ID=name), 1) for name in ("a", "b")]
    gone = files.record(ClientDelete(ID="a"), 2)
    files.write(ground.folder / "clients.dat", *added, gone)
    assert (await ground.run()).clients_left == 1


@pytest.mark.parametrize("name", ["foo/subs.dat", "clients.dat"])
async def test_a_record_of_an_unknown_kind_is_refused(ground: Ground, name: str) -> None:
    ground.slice()
    path = files.write(ground.folder / name, files.record(ClientInfo(ID="a"), 9))
    with pytest.raises(OriginError, match=f"^{path}: the record at offset 4 is of an unknown kind"):
        await ground.run()


@pytest.mark.parametrize("name", ["server.dat", "foo/subs.dat", "foo/msgs.1.dat"])
async def test_a_record_that_cannot_be_read_is_named(ground: Ground, name: str) -> None:
    ground.slice()
    broken = b"\x0a\x09"
    head = files.struct.pack("<II", (1 << 24 if "subs" in name else 0) | 2, files.crc32(broken))
    path = files.write(ground.folder / name, head, broken)
    with pytest.raises(OriginError, match=f"^{path}: the (record|message) at offset 4 cannot be"):
        await ground.run()


async def test_folders_that_are_no_channels_are_passed_over(ground: Ground) -> None:
    ground.slice(files.message(1))
    (ground.folder / "lost+found").mkdir()
    await ground.run()
    assert [record.name for record, _ in (await ground.recovered()).channels] == ["foo"]


async def test_an_original_that_is_running_is_noticed(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.slice(files.message(1))
    read = FileOrigin.messages

    async def messages(origin: FileOrigin, channel: OriginChannel) -> Any:
        async for piece in read(origin, channel):
            yield piece
        ground.slice(files.message(2), number=2)

    monkeypatch.setattr(FileOrigin, "messages", messages)
    with pytest.raises(OriginError, match=r'^channel "foo" grew while it was read: stop the'):
        await ground.run()
    assert (await ground.recovered()).server is None


async def test_what_the_file_system_refuses_is_one_line(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ground.slice(files.message(1))

    def refuse(folder: Path) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("stan.importing.file_origin._size_bytes", refuse)
    with pytest.raises(OriginError, match=f"^{path} cannot be read: Permission denied$"):
        await ground.run()
