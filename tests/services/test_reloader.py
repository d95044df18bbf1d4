"""Tests for :mod:`twisted_net.services.reloader`: SIGHUP and its handlers."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.tls.handshakes import NOW, Issued, Visitor
from twisted_net.services.live_flags import ReloadError
from twisted_net.services.reloader import CertificateReloader, SignalHandler
from twisted_net.tls.certificates import Certificates
from twisted_net.tls.key_pairs import self_signed_pair


class Config:
    """A file that can be read again.

    :ivar error: raised in place of that.
    """

    def __init__(self) -> None:
        self.count = 0
        self.error: ReloadError | None = None

    def reload(self) -> str:
        if self.error is not None:
            raise self.error
        self.count += 1
        return "read"


class Direct(MemoryReactorClock):
    """A reactor that runs callFromThread at once."""

    def callFromThread(self, function: Any, *args: Any, **kwargs: Any) -> None:
        function(*args, **kwargs)


class SignalCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.heard: list[str] = []
        before = signal.signal(signal.SIGHUP, self.first)
        self.addCleanup(signal.signal, signal.SIGHUP, before)

    def first(self, number: int, frame: object) -> None:
        """The previous handler."""
        self.heard.append("first")

    def hang_up(self) -> list[str]:
        """Send SIGHUP to this process; return which handlers were called."""
        self.heard.clear()
        os.kill(os.getpid(), signal.SIGHUP)
        return self.heard

    def on(self, name: str) -> SignalHandler:
        return SignalHandler(Direct(), signal.SIGHUP, lambda: self.heard.append(name))


class OnSignalTests(SignalCase):
    def test_heard(self) -> None:
        """The new and the previous handlers are called; after the restore, only the previous
        ones."""
        a = self.on("a")
        b = self.on("b")
        self.assertEqual(self.hang_up(), ["b", "a", "first"])
        b.restore()
        self.assertEqual(self.hang_up(), ["a", "first"])
        a.restore()
        self.assertEqual(self.hang_up(), ["first"])
        self.assertEqual(signal.getsignal(signal.SIGHUP), self.first)

    def test_at_once(self) -> None:
        """The signal may arrive while the handler is being installed."""
        install = signal.signal

        def install_and_hang_up(number: int, handler: Any) -> Any:
            before = install(number, handler)
            os.kill(os.getpid(), signal.SIGHUP)
            return before

        self.patch(signal, "signal", install_and_hang_up)
        self.on("a")
        self.assertEqual(self.heard, ["a", "first"])

    def test_any_order(self) -> None:
        """Handlers may be restored in any order."""
        a, b, c = self.on("a"), self.on("b"), self.on("c")
        b.restore()
        self.assertEqual(self.hang_up(), ["c", "a", "first"])
        a.restore()
        c.restore()
        self.assertEqual(self.hang_up(), ["first"])
        self.assertEqual(signal.getsignal(signal.SIGHUP), self.first)

    def test_taken_by_somebody(self) -> None:
        """A handler that other code has installed since stays."""
        a = self.on("a")
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        a.restore()
        self.assertEqual(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)


class UpkeepTests(SignalCase):
    def test_reloads(self) -> None:
        """It reloads at once on SIGHUP, soon after a change, and not after it has stopped."""
        path = Path(self.mktemp())
        path.mkdir()
        Issued("a.example").write(path / "a.pem")
        certificates = Certificates.from_directory(str(path))
        clock = Direct()
        reloader = CertificateReloader([certificates], clock)
        reloader.start()
        for wait in (self.hang_up, lambda: clock.pump([5, 5])):
            new = Issued("a.example")
            new.write(path / "a.pem")
            wait()
            self.assertEqual(Visitor(certificates).shake_hands().saw, new.serial)
        reloader.stop()
        self.assertEqual(signal.getsignal(signal.SIGHUP), self.first)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_who_asks_logs_it(self) -> None:
        """Without a reason, as in a worker, nothing is logged, and the line is returned."""
        clock: Any = Clock()
        config: Any = Config()
        reloader = CertificateReloader([], clock, config=config)
        with capturedLogs() as logs:
            self.assertEqual(reloader.reload(""), "read")
            self.assertIn("no certificate files", reloader.reload("", config=False))
            config.error = ReloadError("wrong")
            self.assertRaises(ReloadError, reloader.reload, "")
        self.assertEqual(logs, [])
        self.assertEqual(config.count, 1)

    def test_nothing_to_reload(self) -> None:
        """Without files, SIGHUP is logged, and has no other effect of its own."""
        made = Certificates.from_pair(self_signed_pair(NOW), "self-signed")
        for certificates in ([], [made]):
            clock = Direct()
            reloader = CertificateReloader(certificates, clock)
            reloader.start()
            with capturedLogs() as events:
                self.assertEqual(self.hang_up(), ["first"])
            self.assertEqual(
                [formatEvent(each) for each in events],
                ["SIGHUP: there are no certificate files to read again"],
            )
            reloader.stop()
            self.assertEqual(signal.getsignal(signal.SIGHUP), self.first)
            self.assertEqual(clock.getDelayedCalls(), [])
