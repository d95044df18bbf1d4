"""SIGHUP, and who has it: :mod:`twisted_net.services.reloader`."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.tls.handshakes import NOW, Issued, Visitor
from twisted_net.services.reloader import CertificateReloader, SignalHandler
from twisted_net.tls.certificates import Certificates
from twisted_net.tls.key_pairs import self_signed_pair


class Direct(MemoryReactorClock):
    """A reactor whose thread is this one."""

    def callFromThread(self, function: Any, *args: Any, **kwargs: Any) -> None:
        function(*args, **kwargs)


class SignalCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.heard: list[str] = []
        before = signal.signal(signal.SIGHUP, self.first)
        self.addCleanup(signal.signal, signal.SIGHUP, before)

    def first(self, number: int, frame: object) -> None:
        """Whoever had the signal before."""
        self.heard.append("first")

    def hang_up(self) -> list[str]:
        """Send this process the signal; give who has heard it."""
        self.heard.clear()
        os.kill(os.getpid(), signal.SIGHUP)
        return self.heard

    def on(self, name: str) -> SignalHandler:
        return SignalHandler(Direct(), signal.SIGHUP, lambda: self.heard.append(name))


class OnSignalTests(SignalCase):
    def test_heard(self) -> None:
        """By the new one and by those before it; afterwards by these alone."""
        a = self.on("a")
        b = self.on("b")
        self.assertEqual(self.hang_up(), ["b", "a", "first"])
        b.restore()
        self.assertEqual(self.hang_up(), ["a", "first"])
        a.restore()
        self.assertEqual(self.hang_up(), ["first"])
        self.assertEqual(signal.getsignal(signal.SIGHUP), self.first)

    def test_any_order(self) -> None:
        """They may end in any order."""
        a, b, c = self.on("a"), self.on("b"), self.on("c")
        b.restore()
        self.assertEqual(self.hang_up(), ["c", "a", "first"])
        a.restore()
        c.restore()
        self.assertEqual(self.hang_up(), ["first"])
        self.assertEqual(signal.getsignal(signal.SIGHUP), self.first)

    def test_taken_by_somebody(self) -> None:
        """What somebody else has put there since stays there."""
        a = self.on("a")
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        a.restore()
        self.assertEqual(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)


class UpkeepTests(SignalCase):
    def test_reloads(self) -> None:
        """On the signal at once; by itself soon; and no longer than it is to."""
        path = Path(self.mktemp())
        path.mkdir()
        Issued("a.example").write(path / "a.pem")
        certificates = Certificates.from_directory(str(path))
        clock = Direct()
        upkeep = CertificateReloader([certificates], clock)
        upkeep.start()
        for wait in (self.hang_up, lambda: clock.pump([5, 5])):
            new = Issued("a.example")
            new.write(path / "a.pem")
            wait()
            self.assertEqual(Visitor(certificates).shake_hands().saw, new.serial)
        upkeep.stop()
        self.assertEqual(signal.getsignal(signal.SIGHUP), self.first)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_nothing_to_reload(self) -> None:
        """Then the signal is not ours."""
        made = Certificates.from_pair(self_signed_pair(NOW), "self-signed")
        upkeep = CertificateReloader([made], Direct())
        upkeep.start()
        self.assertEqual(signal.getsignal(signal.SIGHUP), self.first)
        upkeep.stop()
