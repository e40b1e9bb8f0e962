"""What destroys is confirmed with the number of messages that go, forced, or refused."""

import pytest

from tests.cli.conftest import Open, Run
from tests.cli.test_tables import channel_row
from tests.tools.admin_service import AdminService, Fields

PURGE = ("channel", "purge", "orders", "--keep", "5")


@pytest.fixture
def purged(service: AdminService) -> Fields:
    answer = {"channel": "orders", "purged": 12345, "first_sequence": 12346}
    answer |= {"last_sequence": 12350, "removing": 0}
    service.answers["channel.purge"] = answer
    return answer


def was_changed(service: AdminService) -> bool:
    return any(not fields.get("dry_run") for _, fields in service.asked)


async def test_without_a_terminal_it_is_refused(
    run: Run, service: AdminService, purged: Fields
) -> None:
    outcome = await run(*PURGE)
    assert (outcome.code, outcome.stdout) == (1, "")
    assert outcome.stderr == (
        "stan: this destroys something, and there is no terminal to ask on: say -f to do it, or "
        "--dry-run to see what would go\n"
    )
    assert not was_changed(service)


async def test_a_dry_run_tells_what_would_go(
    run: Run, service: AdminService, purged: Fields
) -> None:
    outcome = await run(*PURGE, "--dry-run")
    assert (outcome.code, outcome.stderr) == (0, "")
    assert outcome.stdout == "Would remove 12,345 messages of channel 'orders'.\n"
    asked = {"channel": "orders", "keep": 5, "dry_run": True}
    assert service.asked == [("channel.purge", asked)]


async def test_force_does_not_ask(run: Run, service: AdminService, purged: Fields) -> None:
    outcome = await run(*PURGE, "-f")
    assert outcome.stdout == "Removed 12,345 messages of channel 'orders'.\n"
    assert service.asked == [("channel.purge", {"channel": "orders", "keep": 5})]


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1), ("\n", 1), ("", 130)])
async def test_a_person_is_asked(
    open_terminal: Open, service: AdminService, purged: Fields, answer: str, code: int
) -> None:
    terminal = await open_terminal(*PURGE)
    await terminal.until("Remove 12,345 messages of channel 'orders' for good? [y/N]: ")
    assert not was_changed(service)
    terminal.type(answer)
    ended, written = await (terminal.end() if answer else terminal.interrupt())
    assert ended == code
    assert was_changed(service) == (code == 0)
    assert "Traceback" not in written


async def test_it_waits_for_what_goes_in_the_background(
    run: Run, open_terminal: Open, service: AdminService, purged: Fields
) -> None:
    purged["removing"] = 100
    left = [100, 40, 0]
    service.answers["channel.info"] = lambda _: channel_row(
        "orders", removing=left.pop(0) if left else 0
    )
    assert (await run(*PURGE, "-f", "--no-wait")).code == 0
    assert len(left) == 3
    terminal = await open_terminal(*PURGE, "-f")
    await terminal.until("60/100")
    code, _ = await terminal.end()
    assert (code, left) == (0, [])


async def test_a_channel_goes_with_what_hangs_on_it(run: Run, service: AdminService) -> None:
    service.answers["channel.delete"] = {"channel": "a", "messages": 1, "subscriptions": 2}
    outcome = await run("channel", "rm", "a", "b", "--dry-run")
    assert outcome.stdout == (
        "Would delete channel 'a' with 1 message and 2 subscriptions.\n"
        "Would delete channel 'b' with 1 message and 2 subscriptions.\n"
    )
    assert (await run("channel", "rm", "a", "-f")).stdout == "Deleted channel 'a' with 1 message.\n"
    assert service.asked[-1] == ("channel.delete", {"channel": "a", "force": True})
