"""Connections over pipes: to a process, and over standard input and output."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.endpoints import ProcessEndpoint
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IConsumer, IProcessTransport, IPushProducer
from twisted.internet.stdio import StandardIO
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.connection.recording import Recorder
from twisted_net.connection.addresses import PIPE, format_address
from twisted_net.connection.connection import State
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.endpoints.client import connect
from twisted_net.policy.close_reasons import CLOSED, IDLE, PEER_CLOSED
from twisted_net.testing import advance


@implementer(IProcessTransport, IConsumer, IPushProducer)
class Process:
    """The transport of a process in memory. As in Twisted, it has no addresses and no abort.

    :ivar stubborn: whether it goes on when its input is closed.
    """

    def __init__(self, protocol: Any, stubborn: bool) -> None:
        self.protocol = protocol
        self.stubborn = stubborn
        self.written = b""
        self.calls: list[str] = []
        self.over = False

    def end(self, reason: Exception) -> None:
        if not self.over:
            self.over = True
            self.protocol.processEnded(Failure(reason))  # type: ignore[no-untyped-call]

    def write(self, data: bytes) -> None:
        self.written += data

    def loseConnection(self) -> None:
        self.calls.append("lose")
        if not self.stubborn:
            self.end(ProcessDone(0))  # type: ignore[no-untyped-call]

    def signalProcess(self, name: str) -> None:
        self.calls.append(name)
        if self.over:
            raise ProcessExitedAlready
        self.end(ProcessTerminated(signal=9))  # type: ignore[no-untyped-call]

    def getHost(self) -> Any:
        raise NotImplementedError

    def getPeer(self) -> Any:
        raise NotImplementedError

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Do nothing: it is never full."""

    def unregisterProducer(self) -> None:
        """Do nothing."""

    def pauseProducing(self) -> None:
        """Do nothing."""

    def resumeProducing(self) -> None:
        """Do nothing."""


class Reactor(MemoryReactorClock):
    """Starts processes in memory."""

    stubborn = False

    def spawnProcess(self, protocol: Any, *arguments: Any) -> None:
        self.process = Process(protocol, self.stubborn)
        protocol.makeConnection(self.process)


class ProcessTests(SynchronousTestCase):
    def start(self, stubborn: bool = False, **limits: Any) -> Any:
        """Return a connection to a process."""
        self.reactor = Reactor()
        self.reactor.stubborn = stubborn
        self.factory = ConnectionFactory.forProtocol(Recorder, clock=self.reactor, **limits)
        endpoint: Any = ProcessEndpoint(self.reactor, b"/bin/cat", [b"cat"])
        return self.successResultOf(connect(self.reactor, endpoint, self.factory))

    def test_messages(self) -> None:
        """A process is a peer like others, although it has no address."""
        connection = self.start()
        self.assertEqual((connection.host, connection.peer), (PIPE, PIPE))
        self.assertEqual(format_address(connection.peer), "pipe")
        connection.send(b"hello")
        process = self.reactor.process
        self.assertEqual(process.written, b"hello\n")
        process.protocol.childDataReceived(1, b"hello\n")
        process.end(ProcessDone(0))  # type: ignore[no-untyped-call]
        self.assertEqual(connection.events, ["connected", b"hello", PEER_CLOSED])
        self.assertEqual(connection.peer, PIPE)

    def test_the_end(self) -> None:
        """The input of the process is closed, whoever closes the connection."""
        for end in ("close", "loseConnection"):
            connection = self.start()
            target = connection if end == "close" else connection.transport
            getattr(target, end)()
            self.assertEqual(self.reactor.process.calls, ["lose"])
            self.assertEqual(connection.events, ["connected", CLOSED])

    def test_a_process_that_goes_on(self) -> None:
        """A process that goes on after the end of its input is killed after the grace."""
        connection = self.start(stubborn=True, close_grace=5)
        connection.close()
        advance(self.reactor, 4)
        self.assertIs(connection.state, State.CLOSING)
        advance(self.reactor, 5)
        self.assertIn("KILL", self.reactor.process.calls)
        self.assertEqual(connection.events, ["connected", CLOSED])

    def test_abort(self) -> None:
        """An abort kills the process. One that has just ended is no error."""
        connection = self.start(stubborn=True)
        connection.abort(IDLE)
        self.assertEqual(connection.events, ["connected", IDLE])
        connection = self.start(stubborn=True)
        self.reactor.process.over = True
        connection.abort()
        self.assertEqual(self.reactor.process.calls, ["KILL", "lose"])


class StandardTests(SynchronousTestCase):
    def start(self, **limits: Any) -> Any:
        """Return a connection over two pipes."""
        self.reactor = MemoryReactorClock()
        factory = ConnectionFactory.forProtocol(Recorder, clock=self.reactor, **limits)
        connection: Any = factory.buildProtocol(None)
        (stdin, other), (another, stdout) = os.pipe(), os.pipe()
        self.addCleanup(os.close, other)
        self.addCleanup(os.close, another)
        StandardIO(connection, stdin, stdout, reactor=self.reactor)  # type: ignore[arg-type]
        self.addCleanup(advance, self.reactor, 60)
        return connection

    def test_abort(self) -> None:
        """An abort closes both pipes, in a later turn as with other transports, and once."""
        connection = self.start()
        transport = connection.transport
        connection.abort(IDLE)
        connection.abort()
        self.assertEqual(connection.events, ["connected"])
        self.reactor.advance(0)
        self.assertEqual(connection.events, ["connected", IDLE])
        self.assertTrue(transport.disconnected)
        self.assertEqual(self.reactor.getReaders(), [])

    def test_close(self) -> None:
        """The grace also limits the wait for the end of standard input."""
        for end in ("close", "loseConnection"):
            connection = self.start(close_grace=5)
            target = connection if end == "close" else connection.transport
            getattr(target, end)()
            advance(self.reactor, 9)
            self.assertEqual(connection.events, ["connected", CLOSED])
            self.assertEqual(self.reactor.getDelayedCalls(), [])
