"""Tests for :mod:`twisted_net.services.workers.worker`: what happens without a supervisor."""

from __future__ import annotations

import errno
import gc
import signal
import socket
import struct
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.buffers import tcp_pair
from twisted_net.echo import EchoFactory
from twisted_net.policy.admission import AdmissionRules
from twisted_net.policy.close_reasons import TOO_FAST
from twisted_net.services.starting import NamedService
from twisted_net.services.workers import worker as module
from twisted_net.services.workers.handoff import (
    ADMITTED,
    LEFT_TO_WORKER,
    Decision,
    HandedConnection,
)
from twisted_net.services.workers.pool import WORKER_END_SECONDS
from twisted_net.services.workers.shared_admission import SharedAdmission
from twisted_net.services.workers.sockets import HandedPort, HandedSockets
from twisted_net.services.workers.worker import WorkerEnd
from twisted_net.testing import connect_peer


class Reactor(Clock):
    """A reactor whose end a test sees."""

    def __init__(self) -> None:
        super().__init__()
        self.has_stopped = False

    def callWhenRunning(self, function: Any, *arguments: Any) -> None:
        self.callLater(0, function, *arguments)

    def stop(self) -> None:
        self.has_stopped = True


class AdoptTests(SynchronousTestCase):
    """A connection that the supervisor has accepted."""

    def test_the_peer_has_gone(self) -> None:
        """It is an OSError, and no copy of the socket is left to the garbage collector."""
        peer, accepted = tcp_pair()
        self.addCleanup(accepted.close)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()  # a reset
        handed = HandedConnection(0, accepted.fileno(), accepted.family, ADMITTED, "127.0.0.1")
        factory = EchoFactory(clock=Reactor())
        from twisted.internet import reactor

        self.assertRaises(OSError, module.adopt, reactor, handed, factory)
        gc.collect()
        self.assertEqual(self.flushWarnings(), [])
        self.assertEqual(factory.connections, {})


class GoneTests(SynchronousTestCase):
    """A connection whose peer has gone before the worker takes it."""

    def setUp(self) -> None:
        self.factory = EchoFactory(clock=Reactor())
        self.sockets = HandedSockets()
        self.sockets.ports[0] = self.port = HandedPort(self.factory, self.sockets)
        self.addCleanup(self.port.stopListening)
        self.end = WorkerEnd(Reactor(), self.sockets)
        self.admission = SharedAdmission(AdmissionRules(), 2, self.end.left)
        self.end.serve(NamedService("netecho", self.factory, []), self.admission, None)

    def take(self, decision: Decision) -> None:
        """Let the worker take a connection that was reset."""
        peer, accepted = tcp_pair()
        self.addCleanup(accepted.close)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        self.end._take(
            HandedConnection(0, accepted.fileno(), accepted.family, decision, "127.0.0.1")
        )

    def test_it_has_ended(self) -> None:
        """It counts as one that was reset; else there would be more accepted than ended."""
        self.take(ADMITTED)
        self.take(LEFT_TO_WORKER)
        self.assertEqual((self.port.sessionno, self.factory.endings), (2, {"peer-reset": 2}))
        self.assertEqual(sum(self.admission.refused.values()), 0)

    def test_it_was_refused(self) -> None:
        """It counts as refused, as any other one."""
        self.take(Decision(refusal=TOO_FAST))
        self.assertEqual(self.admission.refused["too-fast"], 1)
        self.assertEqual((self.port.sessionno, self.factory.endings), (1, {}))

    def test_no_descriptor(self) -> None:
        """It was this process's fault."""

        def dup(descriptor: int) -> int:
            raise OSError(errno.EMFILE, "Too many open files")

        self.patch(module.os, "dup", dup)
        self.take(ADMITTED)
        self.assertEqual(self.factory.endings, {"failed": 1})


class OrphanTests(SynchronousTestCase):
    """The supervisor was killed."""

    def test_it_ends(self) -> None:
        """It stops; and if that takes too long, the kernel ends it."""
        timers: list[tuple[int, float]] = []
        self.patch(signal, "setitimer", lambda *timer: timers.append(timer))
        self.addCleanup(signal.signal, signal.SIGALRM, signal.getsignal(signal.SIGALRM))
        reactor = Reactor()
        self.patch(module, "open_channel", self.open_channel)
        self.patch(module.os, "set_inheritable", lambda *_: None)
        self.patch(module.socket, "socket", lambda **_: None)
        self.addCleanup(signal.signal, signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        factory = EchoFactory(clock=reactor)
        service = NamedService("netecho", factory, [], drain=7.0)
        end = WorkerEnd(reactor, HandedSockets())
        end.serve(service, SharedAdmission(AdmissionRules(), 2, end.left), None)
        service.running = True
        reactor.advance(0)
        self.supervisor.reset()
        reactor.advance(0)
        self.assertTrue(reactor.has_stopped)
        self.assertEqual(timers, [(signal.ITIMER_REAL, 7.0 + WORKER_END_SECONDS)])
        self.assertEqual(signal.getsignal(signal.SIGALRM), signal.SIG_DFL)

    def open_channel(self, reactor: Any, end: Any, channel: Any) -> None:
        """Connect the channel to this test."""
        from twisted_net.connection.factory import ConnectionFactory

        factory = ConnectionFactory.forProtocol(lambda: channel, clock=reactor)
        self.supervisor = connect_peer(factory)
