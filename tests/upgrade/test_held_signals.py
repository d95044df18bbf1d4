"""Tests for :mod:`twisted_net.upgrade.held_signals`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

from twisted.trial.unittest import SynchronousTestCase

from twisted_net.upgrade.held_signals import HeldSignals


class HeldSignalsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.heard: list[int] = []
        for number in (signal.SIGINT, signal.SIGTERM):
            self.addCleanup(signal.signal, number, signal.signal(number, self.hear))
        self.held = HeldSignals()

    def hear(self, number: int, frame: object) -> None:
        self.heard.append(number)

    def test_this_process_goes_on(self) -> None:
        """It gets what has come meanwhile, by the handlers that it had before."""
        self.held.begin()
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
        self.assertEqual(self.heard, [])
        self.held.end(os.getpid())
        self.assertEqual(self.heard, [signal.SIGTERM, signal.SIGINT])
        self.held.end(os.getpid())
        self.assertEqual(len(self.heard), 2)

    def test_the_other_goes_on(self) -> None:
        """It gets what has come, and this process nothing."""
        self.held.begin()
        os.kill(os.getpid(), signal.SIGTERM)
        sent: list[tuple[int, int]] = []
        self.patch(os, "kill", lambda *signal: sent.append(signal))
        self.held.end(77)
        self.assertEqual((sent, self.heard), ([(77, signal.SIGTERM)], []))

    def test_the_other_has_ended(self) -> None:
        """Then there is nobody to be stopped."""
        process = subprocess.Popen([sys.executable, "-c", ""])
        process.wait()
        self.held.begin()
        os.kill(os.getpid(), signal.SIGTERM)
        self.held.end(process.pid)
        self.assertEqual(self.heard, [])

    def test_handlers_of_others(self) -> None:
        """One that was installed meanwhile stays."""
        self.held.begin()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.held.end(os.getpid())
        self.assertEqual(signal.getsignal(signal.SIGTERM), signal.SIG_IGN)

    def test_in_another_thread(self) -> None:
        """Outside the main thread, nothing is done."""
        failed: list[BaseException] = []
        self.patch(threading, "excepthook", lambda args: failed.append(args.exc_value))
        thread = threading.Thread(target=self.held.begin)
        thread.start()
        thread.join()
        self.held.end(os.getpid())
        self.assertEqual(failed, [])
