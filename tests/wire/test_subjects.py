"""Which names are channels, client IDs and subjects; which patterns cover which names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stan.wire.subjects import (
    MAX_SUBJECT_BYTES,
    ServerSubjects,
    is_publishable_subject,
    is_valid_channel,
    is_valid_channel_pattern,
    is_valid_client_id,
    pattern_matches,
)


@pytest.mark.parametrize("name", ["foo", "foo.bar", "a.b.c", "with space", "grün", "a:b", "_x"])
def test_channels(name: str) -> None:
    assert is_valid_channel(name)


@pytest.mark.parametrize("name", ["", "foo*", "foo.>", ".foo", "foo.", "foo..bar", "a/b", "*", ">"])
def test_no_channels_021(name: str) -> None:
    assert not is_valid_channel(name)


@pytest.mark.parametrize("client_id", ["id", "id_x", "id-x", "0"])
def test_client_ids_003(client_id: str) -> None:
    assert is_valid_client_id(client_id)


@pytest.mark.parametrize("client_id", ["", "a b", "a:b", "a,b", "a.b", "x!@#", "ä", "a\n", "٣"])
def test_no_client_ids_003(client_id: str) -> None:
    assert not is_valid_client_id(client_id)


@pytest.mark.parametrize("subject", ["a", "_INBOX.x", "a.b*c", "a.>b", "$SYS.x", "grün"])
def test_subjects_to_publish_on(subject: str) -> None:
    assert is_publishable_subject(subject)


@pytest.mark.parametrize(
    "subject",
    ["", ".", "a.", ".a", "a..b", "*", "a.>", "a b", "a\r\nPUB x 0", "a\tb", "a\x00b", "a\x0bb"],
)
def test_no_subjects_to_publish_on(subject: str) -> None:
    assert not is_publishable_subject(subject)


def test_a_subject_fits_a_control_line_twice() -> None:
    assert is_publishable_subject("a" * MAX_SUBJECT_BYTES)
    assert not is_publishable_subject("a" * (MAX_SUBJECT_BYTES + 1))
    assert not is_publishable_subject("ä" * MAX_SUBJECT_BYTES)


@given(st.text(max_size=30))
def test_a_publishable_subject_never_breaks_a_line(subject: str) -> None:
    if is_publishable_subject(subject):
        assert len(subject.encode().split()) == 1
        assert b"\r" not in subject.encode()
        assert b"\n" not in subject.encode()


@pytest.mark.parametrize("pattern", ["foo", "*", ">", "foo.*.bar", "foo.>", "*.>"])
def test_patterns(pattern: str) -> None:
    assert is_valid_channel_pattern(pattern)


@pytest.mark.parametrize("pattern", ["", "foo.*bar", ">.foo", "foo.>.bar", "a..b", "a/b", "f*"])
def test_no_patterns(pattern: str) -> None:
    assert not is_valid_channel_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        (">", "foo.bar", True),
        ("foo.>", "foo", False),
        ("foo.>", "foo.bar.baz", True),
        ("*", "foo.bar", False),
        ("*.bar", "foo.bar", True),
        ("foo", "foo", True),
        ("foo.bar", "foo", False),
        ("foo", "foo.bar", False),
    ],
)
def test_matching(pattern: str, name: str, matches: bool) -> None:
    assert pattern_matches(pattern, name) is matches


@given(st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=4).map(".".join))
def test_a_channel_is_a_pattern_that_covers_itself(name: str) -> None:
    assert is_valid_channel(name)
    assert is_valid_channel_pattern(name)
    assert pattern_matches(name, name)
    assert pattern_matches(">", name)


def test_the_server_listens_where_the_protocol_says() -> None:
    subjects = ServerSubjects("c", "P")
    assert subjects.connect == "P.c"
    assert subjects.pings == "P.c.pings"
    assert subjects.publish_prefix == "_STAN.pub.c"
    assert subjects.publishes == ["_STAN.pub.c.>"]
    assert subjects.subscribe == "_STAN.sub.c"
    assert subjects.unsubscribe == "_STAN.unsub.c"
    assert subjects.subscription_close == "_STAN.subclose.c"
    assert subjects.close == "_STAN.close.c"
