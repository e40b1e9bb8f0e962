"""What NATS complains of: losses are counted, those for reading too slowly have a name."""

import logging

import pytest

from stan.server.complaints import MUCH_BYTES, Complaints

CUT_OFF = '127.0.0.1:4711 - cid:5 - "v2.11.0:python3:{}" - Slow Consumer Detected: {}'


@pytest.fixture
def complaints() -> Complaints:
    return Complaints("stan-server-it")


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno == logging.ERROR]


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (
            "MaxPending of 67108864 Exceeded",
            "(more than 67108864 bytes were pending): raise max_pending of the NATS server",
        ),
        (
            "WriteDeadline of 10s exceeded with 3 chunks of 70000 total bytes.",
            "(WriteDeadline of 10s exceeded with 3 chunks of 70000 total bytes): "
            "raise write_deadline of the NATS server",
        ),
    ],
)
def test_the_log_of_our_nats_server_says_why(
    complaints: Complaints, caplog: pytest.LogCaptureFixture, reason: str, said: str
) -> None:
    complaints.take_line(CUT_OFF.format("stan-server-it", reason))
    complaints.lost(MUCH_BYTES)
    assert (complaints.losses, complaints.slow_losses) == (1, 1)
    assert errors(caplog) == [f"NATS cut us off, since we read too slowly {said}"]


def test_others_who_read_slowly_do_not_count(
    complaints: Complaints, caplog: pytest.LogCaptureFixture
) -> None:
    reason = "MaxPending of 67108864 Exceeded"
    for name in ("", "another", "stan-server-it2", "my-stan-server-it"):
        complaints.take_line(CUT_OFF.format(name, reason))
    complaints.lost(MUCH_BYTES)
    assert (complaints.losses, complaints.slow_losses) == (1, 0)
    assert errors(caplog) == []


def test_a_nats_server_of_somebody_else_is_suspected_when_much_waited(
    complaints: Complaints, caplog: pytest.LogCaptureFixture
) -> None:
    complaints.lost(MUCH_BYTES - 1)
    complaints.lost(MUCH_BYTES)
    assert (complaints.losses, complaints.slow_losses) == (2, 1)
    (error,) = errors(caplog)
    assert error.startswith("NATS may have cut us off, since we read too slowly (16777216 bytes")
    assert '"Slow Consumer Detected" and "stan-server-it"' in error


def test_it_is_certain_when_nats_tells_us(
    complaints: Complaints, caplog: pytest.LogCaptureFixture
) -> None:
    complaints.take("nats: slow consumer, messages dropped subject: a, sid: 1, sub: b")
    complaints.lost(0)
    assert (complaints.losses, complaints.slow_losses) == (1, 0)
    complaints.take("nats: 'Slow Consumer'")
    complaints.lost(0)
    complaints.lost(0)
    assert (complaints.losses, complaints.slow_losses) == (3, 1)
    assert errors(caplog)[0].startswith("NATS cut us off")
