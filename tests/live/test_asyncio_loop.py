"""Twisted on a loop of asyncio that the program runs: ``asyncio_reactor()``."""

from __future__ import annotations

import subprocess
import sys
import textwrap

from twisted.trial.unittest import SynchronousTestCase

PATIENCE = 60

START = """
import asyncio
from twisted_net import Connection, asyncio_reactor, connect, listen
"""


def run(program: str) -> str:
    """Run a program in a process of its own, with warnings as errors, and return what it prints."""
    command = [sys.executable, "-W", "error", "-c", START + textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    return done.stdout + "".join(done.stderr.strip().splitlines(keepends=True)[-1:])


class AsyncioReactorTests(SynchronousTestCase):
    """The reactor is a guest: it begins and stops, and the loop goes on."""

    def test_the_loop_goes_on(self) -> None:
        """At the end, what waits for the reactor's shutdown runs, then the program goes on."""
        shown = run("""
            async def main():
                loop = asyncio.get_running_loop()
                async with asyncio_reactor() as reactor:
                    port = await listen(reactor, "tcp:0", Connection).asFuture(loop)
                    where = ("localhost", port.getHost().port)
                    client = await connect(reactor, where, Connection).asFuture(loop)
                    reactor.addSystemEventTrigger("before", "shutdown", print, "shutdown")
                print(client.reason.code, reactor.running)
                await asyncio.sleep(0)
                print("end")

            asyncio.run(main())
        """)
        self.assertEqual(shown, "shutdown\nclosed False\nend\n")

    def test_services_stop_before_the_end(self) -> None:
        """The end waits for a Deferred that a shutdown trigger returns."""
        shown = run("""
            from twisted.internet.task import deferLater

            async def main():
                async with asyncio_reactor() as reactor:
                    def stop():
                        return deferLater(reactor, 0.01, print, "stopped")
                    reactor.addSystemEventTrigger("before", "shutdown", stop)
                print("end")

            asyncio.run(main())
        """)
        self.assertEqual(shown, "stopped\nend\n")

    def test_a_failure_inside(self) -> None:
        """An exception inside stops the reactor, and goes on to the program."""
        shown = run("""
            async def main():
                async with asyncio_reactor() as reactor:
                    reactor.addSystemEventTrigger("before", "shutdown", print, "shutdown")
                    raise ValueError("mine")

            asyncio.run(main())
        """)
        self.assertEqual(shown, "shutdown\nValueError: mine")

    def test_stopped_inside(self) -> None:
        """``reactor.stop()`` ends Twisted's part, and not the program."""
        shown = run("""
            async def main():
                async with asyncio_reactor() as reactor:
                    reactor.stop()
                    await asyncio.sleep(0.01)
                    print("inside")
                print("end")

            asyncio.run(main())
        """)
        self.assertEqual(shown, "inside\nend\n")

    def test_once_only(self) -> None:
        """A second time is an error that says so."""
        shown = run("""
            async def main():
                async with asyncio_reactor():
                    pass

            asyncio.run(main())
            asyncio.run(main())
        """)
        self.assertIn("RuntimeError: asyncio_reactor(): a program can run Twisted's", shown)

    def test_another_reactor(self) -> None:
        """A reactor that was imported before is an error that names it."""
        shown = run("""
            from twisted.internet import selectreactor
            selectreactor.install()

            async def main():
                async with asyncio_reactor():
                    pass

            asyncio.run(main())
        """)
        self.assertIn("Twisted has another reactor already, SelectReactor. Enter", shown)

    def test_in_a_program_of_twisted(self) -> None:
        """Where Twisted's asyncio reactor runs, that is given, and goes on."""
        shown = run("""
            from twisted.internet import asyncioreactor, defer, task
            asyncioreactor.install()

            async def inside():
                async with asyncio_reactor() as found:
                    from twisted.internet import reactor
                    print(found is reactor)
                print(reactor.running)

            async def main(reactor):
                await defer.Deferred.fromFuture(asyncio.ensure_future(inside()))

            task.react(main)
        """)
        self.assertEqual(shown, "True\nTrue\n")
