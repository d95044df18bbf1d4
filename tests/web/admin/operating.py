"""An operator's view in memory, and requests to it."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.connection.recording import Recorder
from twisted_net.chat.protocol import ChatFactory
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.endpoints.listening import ListenerService
from twisted_net.store.memory import MemoryStore
from twisted_net.testing import Peer, connect_peer
from twisted_net.web.admin.answers import ServiceAnswers
from twisted_net.web.admin.histogram import Histogram
from twisted_net.web.admin.site import AdminResource, AdminSite
from twisted_net.web.admin.views import ChatServiceView, ServiceView

LOOPBACK = IPv4Address("TCP", "127.0.0.1", 9191)


class Answer:
    """An answer of HTTP.

    :ivar status: its number.
    :ivar headers: by their names in lower case.
    :ivar body: what has arrived of it; a chunked one is put together.
    """

    def __init__(self, data: bytes) -> None:
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
        }
        self.body = _unchunked(body) if "transfer-encoding" in self.headers else body

    def json(self) -> Any:
        """Return the value in the body."""
        return json.loads(self.body)


def _unchunked(data: bytes) -> bytes:
    found = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        found += data[:length]
        data = data[length + 2 :]
    return found


class FailingStore(MemoryStore):
    """A store that says what a test tells it to say of itself."""

    def __init__(self, trouble: str = "") -> None:
        super().__init__(lambda: 5.0, lambda: "epoch")
        self.trouble = trouble


class AdminCase(SynchronousTestCase):
    """A service, and its operator's view."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.token: bytes | None = None
        self.turns = Histogram()

    def watch(
        self, factory: ConnectionFactory, kind: type[ServiceView] = ServiceView, **more: Any
    ) -> Any:
        """Show a factory's service; return its view."""
        service = ListenerService(factory, [])
        service.running = True
        view = kind(more.pop("name", "netecho"), service, now=lambda: 5.0, **more)
        view.start()
        self.addCleanup(view.stop)
        self.show(view)
        return view

    def recorders(self) -> ConnectionFactory:
        """Return the factory of connections that record their hooks."""
        return ConnectionFactory.forProtocol(Recorder, clock=self.clock)

    def watch_chat(self, **settings: Any) -> Any:
        """Show a chat; return its view."""
        factory = ChatFactory(clock=self.clock, now=lambda: 5.0, **settings)
        factory.startFactory()
        return self.watch(factory, ChatServiceView, name="netchat")

    def show(self, *views: ServiceView, names: tuple[str, ...] = ()) -> None:
        """Show these services."""
        answers = ServiceAnswers(views, self.turns)
        resource = AdminResource(answers, self.clock, lambda: self.token, names)
        self.site: Any = AdminSite(resource, reactor=self.clock)

    def one_turn(self) -> int:
        """Run one turn of the reactor; return the number of calls that it had."""
        now = self.clock.seconds()
        due = [call for call in self.clock.calls if call.getTime() <= now]
        for call in due:
            if call in self.clock.calls:  # otherwise, another one has cancelled it
                self.clock.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)
        return len(due)

    def open(self, request: bytes, host: Any = LOOPBACK) -> Peer:
        """Send a request; return the connection."""
        peer = connect_peer(self.site, clock=self.clock, host=host)
        peer.send(request)
        return peer

    def ask(
        self, path: str, method: str = "GET", body: Any = None, host: Any = LOOPBACK, **headers: str
    ) -> Answer:
        """Ask for a path. POSTs have the header that they need."""
        peer = self.open(request_bytes(path, method, body, **headers), host)
        return Answer(peer.received)

    def do(self, path: str, **body: Any) -> Answer:
        """Send a POST with a JSON object."""
        return self.ask(path, "POST", body)


def request_bytes(path: str, method: str = "GET", body: Any = None, **headers: str) -> bytes:
    """Return a request. An underscore in a header's name stands for a hyphen."""
    fields = {"Host": "localhost:9191", **({"X_Netchat_Admin": "1"} if method == "POST" else {})}
    fields.update(headers)
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    if method == "POST":
        fields.setdefault("Content_Length", str(len(data)))
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items() if value]
    return f"{method} {path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode() + data
