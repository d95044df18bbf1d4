"""Each connection has its line in the log, however the process ends."""

from __future__ import annotations

import re
import signal
import sys
from typing import Any

from tests.live.harness import Client, LiveTestCase, Program

PROGRAM = """
import atexit, os, signal, sys

from twisted_net.eager import install

if sys.argv[1] == "eager":
    install()
from twisted.internet import reactor
from twisted.logger import Logger, globalLogBeginner, textFileLogObserver

from twisted_net import Connection, ConnectionFactory

signal.signal(signal.SIGTERM, signal.SIG_DFL)
globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)], redirectStandardIO=False)
log = Logger("program")


class Server(Connection):
    said = b""

    def message_received(self, message):
        self.said = message
        self.send(message)

    def disconnected(self, reason):
        if self.said == b"crash":
            reactor.crash()
        elif self.said == b"stop":
            reactor.stop()
        elif self.said == b"fail":
            raise ZeroDivisionError
        elif self.said == b"leave":
            raise SystemExit
        elif self.said == b"log":
            log.info("a line from the hook")
        elif self.said == b"fork" and os.fork() == 0:
            atexit._run_exitfuncs()
            os._exit(0)


port = reactor.listenTCP(0, ConnectionFactory.forProtocol(Server), interface="127.0.0.1")
print("PORT", port.getHost().port, flush=True)
reactor.run(installSignalHandlers=False)
"""


class LogEndsTests(LiveTestCase):
    async def start(self, reactor: str) -> tuple[Program, int]:
        running: Program = self.spawn(sys.executable, "-c", PROGRAM, reactor)
        found = await running.expect(rb"^PORT (\d+)$")
        return running, int(found[1])

    async def say(self, port: int, word: bytes, count: int = 1) -> list[Client]:
        """Let clients say a word, hear it, and close, all at once."""
        clients: list[Any] = [await self.connect(port) for _ in range(count)]
        for client in clients:
            client.send(word + b"\n")
        await self.together(*(client.has(word + b"\n") for client in clients))
        for client in clients:
            client.transport.loseConnection()
        await self.together(*(client.closed() for client in clients))
        return clients

    def ends(self, running: Program, clients: list[Client]) -> list[int]:
        """Return how many lines about its end each client has."""
        text = running.output.decode()
        return [
            len(re.findall(rf" from {client.address} ended: peer-closed, [^\n]* out\n", text))
            for client in clients
        ]

    async def test_ends_from_within(self) -> None:
        """The reactor stops or crashes, in the turn in which the connections end."""
        for reactor in ("eager", "epoll"):
            for word in (b"stop", b"crash"):
                running, port = await self.start(reactor)
                others = await self.say(port, b"hello", 5)
                last = await self.say(port, word)
                self.assertEqual(await running.ended(), 0)
                self.assertEqual(self.ends(running, others + last), [1] * 6, (reactor, word))

    async def test_a_signal_that_kills(self) -> None:
        """A signal that nobody handles finds every line written: nothing waits for an event."""
        for reactor in ("eager", "epoll"):
            running, port = await self.start(reactor)
            others = await self.say(port, b"hello", 20)
            after = await self.connect(port)  # it is answered in a later turn
            after.send(b"hello\n")
            await after.has(b"hello\n")
            running.signal(signal.SIGTERM)
            self.assertEqual(await running.ended(), -signal.SIGTERM)
            self.assertEqual(self.ends(running, others), [1] * 20, reactor)

    async def test_failures_forks_and_other_lines(self) -> None:
        """A hook that fails, leaves, logs or forks costs no line and doubles none."""
        for reactor in ("eager", "epoll"):
            running, port = await self.start(reactor)
            clients: list[Client] = []
            for word in (b"hello", b"log", b"fail", b"fork", b"hello", b"leave"):
                clients += await self.say(port, word, 3)
            clients += await self.say(port, b"stop")
            self.assertEqual(await running.ended(), 0)
            self.assertEqual(self.ends(running, clients[:18]), [1] * 18, reactor)
            self.assertEqual(running.output.count(b"a line from the hook"), 3)
