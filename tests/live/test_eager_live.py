"""Eager transports on the reactor that runs the tests, and the eager reactor in a process."""

from __future__ import annotations

import os
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import (
    SSL4ClientEndpoint,
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    UNIXClientEndpoint,
    UNIXServerEndpoint,
    connectProtocol,
    serverFromString,
)
from twisted.internet.error import ConnectionDone, ProcessDone
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol
from twisted.internet.task import deferLater
from twisted.protocols.basic import LineReceiver
from twisted.trial.unittest import TestCase

from tests.eager.tls_turns import client_options, server_options
from twisted_net.eager.reactor_interfaces import eager
from twisted_net.eager.tls import EagerTLS
from twisted_net.eager.transports import Eager

DEADLINE = 20  # seconds for a test, on the slowest machine


class Echo(Protocol):
    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class Asker(LineReceiver):
    """Sends line by line, and waits for each answer."""

    delimiter = b"\n"

    def ask(self, line: bytes) -> Deferred[bytes]:
        self.answer: Deferred[bytes] = Deferred()
        self.sendLine(line)
        return self.answer

    def lineReceived(self, line: bytes) -> None:
        self.answer.callback(line)


class EchoTests(TestCase):
    """An echo server, with many requests."""

    timeout = DEADLINE

    @inlineCallbacks
    def _asked(self, server: Any, client: Any) -> Any:
        port = yield server.listen(Factory.forProtocol(Echo))
        self.addCleanup(port.stopListening)
        asker = yield connectProtocol(client(port), Asker())
        self.assertIsInstance(asker.transport, Eager)
        for number in range(100):
            line = b"%d" % number
            answer = yield asker.ask(line)
            self.assertEqual(answer, line)
        big = b"x" * 10_000
        asker.MAX_LENGTH = 1 << 20
        self.assertEqual((yield asker.ask(big)), big)
        asker.transport.loseConnection()

    def test_tcp(self):
        """Over TCP."""
        ours = eager(reactor)
        return self._asked(
            TCP4ServerEndpoint(ours, 0, interface="127.0.0.1"),
            lambda port: TCP4ClientEndpoint(ours, "127.0.0.1", port.getHost().port),
        )

    def test_unix(self):
        """Over a Unix socket."""
        ours = eager(reactor)
        path = self.mktemp()
        return self._asked(
            UNIXServerEndpoint(ours, path), lambda port: UNIXClientEndpoint(ours, path)
        )

    @inlineCallbacks
    def test_string(self):
        """The result of ``eager`` works with endpoint strings."""
        port = yield serverFromString(eager(reactor), "tcp:0:interface=127.0.0.1").listen(
            Factory.forProtocol(Echo)
        )
        yield port.stopListening()


class TLSTests(TestCase):
    """TLS on the socket, on both sides."""

    timeout = DEADLINE * 3

    @inlineCallbacks
    def test_much(self):
        """Much data goes both ways at once, in pieces of any size, and both sides end cleanly."""
        ours = eager(reactor)
        server = Collector()
        ended = server.ended
        port = ours.listenSSL(
            0, Factory.forProtocol(lambda: server), server_options(), interface="127.0.0.1"
        )
        self.addCleanup(port.stopListening)
        client = yield connectProtocol(
            SSL4ClientEndpoint(ours, "127.0.0.1", port.getHost().port, client_options()),
            Collector(),
        )
        self.assertIsInstance(client.transport, EagerTLS)
        sent = b"".join(b"%08d" % number for number in range(400_000))
        pieces = (1, 100, 5_000, 16_384, 16_385, 70_000, 1_000_000)
        start = 0
        while start < len(sent):
            piece = sent[start : start + pieces[start % len(pieces)]]
            client.transport.write(piece)
            start += len(piece)
            if start % 3 == 0:
                yield deferLater(reactor, 0)
        server.when(len(sent), server.transport.write, sent)
        yield client.reached(len(sent))
        self.assertEqual((bytes(server.got), bytes(client.got)), (sent, sent))
        client.transport.loseConnection()
        for reason in (yield ended), (yield client.ended):
            self.assertIs(reason.type, ConnectionDone)


class Collector(Protocol):
    """Keeps what it receives."""

    def __init__(self) -> None:
        self.got = bytearray()
        self.ended: Deferred[Any] = Deferred()
        self._after: list[tuple[int, Deferred[None]]] = []

    def reached(self, size: int) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        self._after.append((size, waiting))
        self.dataReceived(b"")
        return waiting

    def when(self, size: int, call: Any, *arguments: Any) -> None:
        self.reached(size).addCallback(lambda _: call(*arguments))

    def dataReceived(self, data: bytes) -> None:
        self.got += data
        for each in list(self._after):
            if len(self.got) >= each[0]:
                self._after.remove(each)
                each[1].callback(None)

    def connectionLost(self, reason: Any = None) -> None:
        self.ended.callback(_Kept(reason))


class _Kept:
    """A reason that a Deferred does not treat as a failure."""

    def __init__(self, reason: Any) -> None:
        self.type = reason.type


class Talking(ProcessProtocol):
    """A process that reports when it has printed an expected text."""

    def __init__(self) -> None:
        self.said = b""
        self.heard: list[tuple[bytes, Deferred[bytes]]] = []
        self.ended: Deferred[Any] = Deferred()

    def until(self, text: bytes) -> Deferred[bytes]:
        waiting: Deferred[bytes] = Deferred()
        self.heard.append((text, waiting))
        self._look()
        return waiting

    def outReceived(self, data: bytes) -> None:
        self.said += data
        self._look()

    errReceived = outReceived

    def _look(self) -> None:
        for each in list(self.heard):
            if each[0] in self.said:
                self.heard.remove(each)
                each[1].callback(self.said)

    def processEnded(self, reason: Any) -> None:
        for _, waiting in self.heard:
            waiting.errback(AssertionError(self.said))
        self.reason = reason
        self.ended.callback(None)


SERVER = """
import sys
from twisted_net.eager import reactor
reactor.install()
from twisted.internet import reactor
from twisted.web import resource, server
class Page(resource.Resource):
    isLeaf = True
    def render_GET(self, request):
        return request.uri
port = reactor.listenTCP(0, server.Site(Page()), interface="127.0.0.1")
print("port", port.getHost().port, "ready", flush=True)
reactor.run()
print("over", flush=True)
"""


class ReactorTests(TestCase):
    """A running eager reactor."""

    timeout = DEADLINE * 3

    @inlineCallbacks
    def test_web(self):
        """Twisted's web server runs on it, answers, and stops cleanly."""
        process = Talking()
        running = reactor.spawnProcess(
            process, sys.executable, [sys.executable, "-c", SERVER], env=os.environ
        )
        said = yield process.until(b"ready")
        number = int(said.split()[1])
        asker = yield connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", number), Getter())
        for path in (b"/a", b"/b"):
            answer = yield asker.get(path)
            self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer)
            self.assertTrue(answer.endswith(b"\r\n\r\n" + path), answer)
        running.signalProcess("TERM")
        yield process.ended
        self.assertIn(b"over", process.said)
        process.reason.trap(ProcessDone)
        asker.transport.abortConnection()


class Getter(Protocol):
    """Gets pages whose body is their path."""

    def get(self, path: bytes) -> Deferred[bytes]:
        self.got = b""
        self.path = path
        self.answer: Deferred[bytes] = Deferred()
        self.transport.write(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
        return self.answer

    def dataReceived(self, data: bytes) -> None:
        self.got += data
        if self.got.endswith(b"\r\n\r\n" + self.path):
            self.answer.callback(self.got)
