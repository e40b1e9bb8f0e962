"""The clients: connecting, duplicates, heartbeats, pings, and the end of each.

A client is known by its ID and by its connection ID. It stays until it closes, stops
answering heartbeats, or is replaced by a new one that proved it silent. What becomes of
its subscriptions is decided elsewhere: `leave` is called for each.
"""

from collections.abc import Callable

from stan.engine.changes import Changes, Reply
from stan.engine.channels import find_long_name
from stan.engine.outbox import Outbox
from stan.engine.proofs import Proofs
from stan.engine.records import ClientRecord
from stan.engine.settings import MILLISECOND_NS, Settings
from stan.engine.state import Client, Subscription
from stan.engine.timers import Timer, Timers
from stan.wire.messages import parse_request
from stan.wire.stan_pb2 import (
    CloseRequest,
    CloseResponse,
    ConnectRequest,
    ConnectResponse,
    Ping,
    PingResponse,
)
from stan.wire.subjects import ServerSubjects, is_publishable_subject, is_valid_client_id

SERVER_PROTOCOL = 1
CLIENT_ID_TAKEN = "stan: clientID already registered"
REPLACED = "client has been replaced or is no longer registered"


class DuplicateCheck(Timer):
    """A connect request that waits for the old client of its ID to answer, or not."""

    def __init__(self, request: ConnectRequest, reply: bytes, old: Client, beat: bytes) -> None:
        super().__init__()
        self.request: ConnectRequest = request
        self.reply: bytes = reply
        self.old: Client = old
        self.beat: bytes = beat


class Clients:
    def __init__(
        self,
        settings: Settings,
        subjects: ServerSubjects,
        beat_head: str,
        changes: Changes,
        timers: Timers,
        outbox: Outbox,
        proofs: Proofs,
        leave: Callable[[Subscription, int], None],
    ) -> None:
        self.by_id: dict[str, Client] = {}
        self.by_connection_id: dict[bytes, Client] = {}
        self.checks: dict[str, DuplicateCheck] = {}
        self.beats: dict[bytes, Client | DuplicateCheck] = {}
        self._beat_head = beat_head
        self._beat_count = 0
        self._settings = settings
        self._subjects = subjects
        self._changes = changes
        self._timers = timers
        self._outbox = outbox
        self._proofs = proofs
        self._leave: Callable[[Subscription, int], None] = leave

    # Connecting.

    def connect(self, payload: bytes, reply: bytes, now_ns: int) -> None:
        """Answer a ConnectRequest, now, after the commit, or after a duplicate check."""
        try:
            request = parse_request(ConnectRequest, payload)
        except ValueError:
            self._refuse(reply, "stan: invalid connection request")
            return
        if not is_publishable_subject(request.heartbeatInbox):
            self._refuse(reply, "stan: invalid connection request")
            return
        too_long = find_long_name(
            ("clientID", len(request.clientID.encode())), ("connID", len(request.connID))
        )
        if too_long:
            self._refuse(reply, too_long)
            return
        if not is_valid_client_id(request.clientID):
            self._refuse(
                reply,
                "stan: invalid clientID: only alphanumeric and `-` or `_` characters allowed",
            )
            return
        old = self.by_id.get(request.clientID)
        if old is None:
            self._register(request, reply, now_ns)
        elif request.connID and request.connID == old.record.connection_id:
            # Nobody else knows the connection ID: this client lost our answer, or its session.
            self._log(request.clientID, f"Registered again (Inbox={request.heartbeatInbox})")
            self.remove(old, now_ns)
            self._register(request, reply, now_ns)
        elif request.clientID in self.checks:
            self._taken(request.clientID, reply)
        else:
            check = DuplicateCheck(request, reply, old, self._next_beat())
            self.checks[request.clientID] = check
            self.beats[check.beat] = check
            self._timers.set(check, now_ns + self._settings.duplicate_check_timeout_ns)
            self._outbox.send(old.record.heartbeat_inbox.encode(), b"", check.beat)

    def add(self, record: ClientRecord, now_ns: int) -> Client:
        """Take a client that is, or is about to be, in the store."""
        client = Client(record)
        self.by_id[client.client_id] = client
        if record.connection_id:
            self.by_connection_id[record.connection_id] = client
        self._timers.set(client, now_ns + self._settings.heartbeat_interval_ns)
        return client

    def publisher(self, client_id: str, connection_id: bytes) -> Client | None:
        """Who published with these: the connection ID alone tells, where there is one."""
        if connection_id:
            return self.by_connection_id.get(connection_id)
        return self.by_id.get(client_id)

    def _register(self, request: ConnectRequest, reply: bytes, now_ns: int) -> None:
        record = ClientRecord(
            request.clientID,
            request.heartbeatInbox,
            request.connID,
            request.protocol,
            request.pingInterval,
            request.pingMaxOut,
            request.resends,
        )
        client = self.add(record, now_ns)
        client.heard_ns = now_ns
        self._changes.put_client(record)
        response = self._grant(request)
        answer = Reply(reply, response.SerializeToString(), "connect")
        answer.client = client
        self._changes.reply(answer)
        self._log(request.clientID, f"Connected (Inbox={request.heartbeatInbox})")

    def is_session(self, request: ConnectRequest) -> bool:
        """Whether the client is registered as this request wants it."""
        client = self.by_id.get(request.clientID)
        return (
            client is not None
            and client.record.connection_id == request.connID
            and client.record.heartbeat_inbox == request.heartbeatInbox
        )

    def answer_again(self, request: ConnectRequest, reply: bytes) -> bool:
        """Answer a client that is registered by this very connection; False for any other."""
        if not self.is_session(request):
            return False
        self._outbox.send(reply, self._grant(request).SerializeToString())
        return True

    def _grant(self, request: ConnectRequest) -> ConnectResponse:
        """The answer to a client that is registered."""
        subjects = self._subjects
        response = ConnectResponse(
            pubPrefix=subjects.publish_prefix,
            subRequests=subjects.subscribe,
            unsubRequests=subjects.unsubscribe,
            closeRequests=subjects.close,
            subCloseRequests=subjects.subscription_close,
            protocol=SERVER_PROTOCOL,
        )
        if request.resends:
            response.dedupeWindow = self._settings.dedupe_window_ns // MILLISECOND_NS
        if request.protocol >= 1:
            response.pingRequests = subjects.pings
            response.pingInterval = request.pingInterval
            response.pingMaxOut = request.pingMaxOut
        return response

    def _replace(self, check: DuplicateCheck, now_ns: int) -> None:
        """The old client is silent: the new one takes its ID."""
        self._end_check(check)
        if self.by_id.get(check.old.client_id) is check.old:
            self._log(
                check.old.client_id,
                f"Replaced old client (Inbox={check.old.record.heartbeat_inbox})",
            )
            self.remove(check.old, now_ns)
        if check.request.clientID in self.by_id:  # somebody else was faster
            self._taken(check.request.clientID, check.reply)
        else:
            self._register(check.request, check.reply, now_ns)

    def _end_check(self, check: DuplicateCheck) -> None:
        self._timers.clear(check)
        self.checks.pop(check.request.clientID, None)
        self.beats.pop(check.beat, None)

    def _taken(self, client_id: str, reply: bytes) -> None:
        self._log(client_id, "Connect failed; already connected")
        self._refuse(reply, CLIENT_ID_TAKEN)

    def _refuse(self, reply: bytes, error: str) -> None:
        self._outbox.send(reply, ConnectResponse(error=error).SerializeToString())

    # Heartbeats and pings.

    def beat_answered(self, subject: bytes, alive: bool, now_ns: int) -> None:
        """A reply to a heartbeat or duplicate check; not alive: nobody listens there."""
        waiting = self.beats.pop(subject, None)
        if waiting is None:
            return
        if isinstance(waiting, DuplicateCheck):
            if alive:
                self._end_check(waiting)
                self._taken(waiting.request.clientID, waiting.reply)
            else:
                self._replace(waiting, now_ns)
        elif alive:
            waiting.beat = b""
            waiting.failed_heartbeats = 0
            waiting.heard_ns = now_ns
            self._timers.set(waiting, now_ns + self._settings.heartbeat_interval_ns)
        else:
            self._beat_failed(waiting, now_ns)

    def due(self, timer: Client | DuplicateCheck, now_ns: int) -> None:
        """A client's or a duplicate check's deadline passed."""
        if isinstance(timer, DuplicateCheck):
            self._replace(timer, now_ns)
        elif timer.gone:
            pass  # removed by a deadline that passed in the same tick
        elif timer.beat:
            self.beats.pop(timer.beat, None)
            self._beat_failed(timer, now_ns)
        else:
            timer.beat = self._next_beat()
            self.beats[timer.beat] = timer
            self._outbox.send(timer.record.heartbeat_inbox.encode(), b"", timer.beat)
            self._timers.set(timer, now_ns + self._settings.heartbeat_timeout_ns)

    def _beat_failed(self, client: Client, now_ns: int) -> None:
        client.beat = b""
        client.failed_heartbeats += 1
        if client.failed_heartbeats > self._settings.heartbeat_fail_count:
            self._log(client.client_id, "Timed out on heartbeats", "error")
            self.remove(client, now_ns)
        else:
            self._timers.set(client, now_ns + self._settings.heartbeat_interval_ns)

    def _next_beat(self) -> bytes:
        self._beat_count += 1
        return f"{self._beat_head}{self._beat_count}".encode()

    def ping(self, payload: bytes, reply: bytes, now_ns: int) -> None:
        """Answer a client's Ping; one without a connection ID is not for us."""
        try:
            request = parse_request(Ping, payload)
        except ValueError:
            return
        if not request.connID:
            return
        client = self.by_connection_id.get(request.connID)
        if client is None:
            self._outbox.send(reply, PingResponse(error=REPLACED).SerializeToString())
            return
        self._outbox.send(reply, b"")
        client.heard_ns = now_ns
        if client.failed_heartbeats > 0 and not client.beat:
            # It lives: let it prove so at once (protocol 3.2).
            self._timers.set(client, now_ns + MILLISECOND_NS)

    # The end.

    def close(self, payload: bytes, reply: bytes, now_ns: int) -> None:
        """Answer a CloseRequest."""
        error = ""
        try:
            request = parse_request(CloseRequest, payload)
            client = self.by_id.get(request.clientID)
            if client is None:
                error = "stan: unknown clientID"
        except ValueError:
            client = None
            error = "stan: invalid close request"
        if client is None:
            self._outbox.send(reply, CloseResponse(error=error).SerializeToString())
            return
        self._log(client.client_id, f"Closed (Inbox={client.record.heartbeat_inbox})")
        self.remove(client, now_ns)
        self._changes.reply(Reply(reply, CloseResponse().SerializeToString(), "close"))

    def remove(self, client: Client, now_ns: int) -> None:
        """Unregister a client; its durables stay, the rest of its subscriptions goes."""
        client.gone = True
        del self.by_id[client.client_id]
        connection_id = client.record.connection_id
        if connection_id and self.by_connection_id.get(connection_id) is client:
            del self.by_connection_id[connection_id]
        self._timers.clear(client)
        self._proofs.forget(client)
        if client.beat:
            self.beats.pop(client.beat, None)
        for subscription in list(client.subscriptions.values()):
            self._leave(subscription, now_ns)
        self._changes.delete_client(client.client_id)

    def _log(self, client_id: str, text: str, level: str = "debug") -> None:
        self._outbox.log(level, f"[Client:{client_id}] {text}")
