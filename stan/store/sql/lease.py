"""The lease: one server writes, and a deposed one cannot.

The row stan_server names the owner and when its lease ends by the database's clock. Taking
it over raises the epoch, and every commit checks the epoch, so that a server which was
frozen and wakes up finds out at its next write. These are steps over a Session; who takes
the lease and renews it is in stan.store.sql.opening and stan.store.sql.store.
Invariants: the epoch never goes back, and only changes together with the owner; the columns
used here are the same in every revision of the schema.
"""

import os
import re
import secrets
import socket
from dataclasses import dataclass, replace
from pathlib import Path

from stan.errors import LeaseLostError
from stan.store.contract import Holder
from stan.store.sql.dialect import Session

_READ = "SELECT epoch, lease_owner, lease_expires_ms, {now} FROM stan_server WHERE id=1"
_TAKE = (
    "UPDATE stan_server SET epoch=?, lease_owner=?, lease_expires_ms={now} + ? "
    "WHERE id=1 AND epoch=? AND lease_expires_ms=?"
)
_RENEW = "UPDATE stan_server SET lease_expires_ms={now} + ? WHERE id=1 AND epoch=?"
_RELEASE = "UPDATE stan_server SET lease_owner=NULL, lease_expires_ms=0 WHERE id=1 AND epoch=?"
_FENCE = "UPDATE stan_server SET batch_number=?, lease_expires_ms={now} + ? WHERE id=1 AND epoch=?"
_RENUMBER = "UPDATE stan_server SET epoch=epoch + 1 WHERE id=1 AND epoch=?"

_OWNER = re.compile(r"^(?P<host>\S+) pid (?P<pid>\d+) \((?P<machine>[^/]*)/(?P<start>\d+)/\w+\)$")


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write, as its owner holds it. Every method raises LeaseLostError when
    another server took the store over, if it does not say otherwise."""

    owner: str
    epoch: int
    lease_ms: int

    def fence(self, session: Session, batch_number: int) -> None:
        """The first statement of every commit: prove the lease, number the batch, renew."""
        row = (batch_number, self.lease_ms, self.epoch)
        if session.execute(_sql(_FENCE, session), row) != 1:
            raise lost(session)

    def prove(self, session: Session) -> None:
        """The first statement of a transaction that is not a batch; it renews, too."""
        if session.execute(_sql(_RENEW, session), (self.lease_ms, self.epoch)) != 1:
            raise lost(session)

    def renew(self, session: Session) -> None:
        """Move the end of the lease."""
        session.begin()
        self.prove(session)
        session.commit()

    def release(self, session: Session) -> None:
        """Let others in at once. Harmless when the lease is lost already."""
        session.run_alone(_RELEASE, (self.epoch,))

    def read_batch_number(self, session: Session) -> int:
        """The number of the last batch that is true."""
        row = session.fetch_one("SELECT batch_number FROM stan_server WHERE epoch=?", (self.epoch,))
        if row is None:
            raise lost(session)
        return int(row[0])

    def renumber(self, session: Session) -> "Lease":
        """Shut out a COMMIT of our own that may still be on its way; the lease of a new epoch.

        Waits for the other transaction, since both write the same row; one that comes later
        carries an old epoch.
        """
        renumbered = replace(self, epoch=self.epoch + 1)
        if session.run_alone(_RENUMBER, (self.epoch,)) == 1:
            return renumbered
        holder = read_holder(session)  # was it this very statement, with its answer lost?
        if holder.epoch == renumbered.epoch and holder.owner == self.owner:
            return renumbered
        raise lost(session)


def read_holder(session: Session) -> Holder:
    """Who holds the lease now."""
    row = session.fetch_one(_sql(_READ, session))
    if row is None:
        raise LeaseLostError("the row of the server is missing from the database")
    epoch, name, expires_ms, now_ms = row
    owner, end_ms = name or "", int(expires_ms)
    return Holder(owner, int(epoch), end_ms, end_ms - int(now_ms), is_gone(owner))


def take(session: Session, seen: Holder, owner: str, lease_ms: int) -> Lease | None:
    """Take the lease if nothing changed since `seen`, and nobody upgrades the schema now."""
    taken = Lease(owner, seen.epoch + 1, lease_ms)
    sql = _sql(_TAKE, session) + session.dialect.unless_migrating_sql
    row = (taken.epoch, owner, lease_ms, seen.epoch, seen.expires_ms)
    return taken if session.run_alone(sql, row) == 1 else None


def lost(session: Session) -> LeaseLostError:
    """The error that names who took over."""
    holder = read_holder(session)
    if not holder.owner:
        return LeaseLostError("another server took the store over, and left it")
    return LeaseLostError(f"another server took the store over: {holder.owner}")


def owner_name() -> str:
    """This process, for people and for `is_gone`: host, process id, which process of that
    id on which boot of which machine, and which of its stores."""
    pid = os.getpid()
    mark = f"{_machine()}/{max(_start_ticks(pid), 0)}/{secrets.token_hex(4)}"
    return f"{socket.gethostname()} pid {pid} ({mark})"


def is_gone(owner: str) -> bool:
    """Whether the owner was a process of this very machine and boot that no longer runs.

    False whenever that is not certain; the lease's end decides then.
    """
    match = _OWNER.match(owner)
    machine = _machine()
    if match is None or not machine or match["machine"] != machine:
        return False
    pid = int(match["pid"])
    return not _exists(pid) or _start_ticks(pid) not in (int(match["start"]), -1)


def _machine() -> str:
    """The boot and the namespace that give process ids their meaning; Linux only."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot[:13]}:{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _start_ticks(pid: int) -> int:
    """When the process started, 0 when it is only a zombie; -1 when that cannot be read."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return -1
    return 0 if after_name[0] in "ZX" else int(after_name[19])


def _sql(template: str, session: Session) -> str:
    return template.replace("{now}", session.dialect.now_ms_sql)
