"""The client as a filter: lines of the standard input become messages of a room.

Reading and writing block, so each has a thread. That works with pipes, files and terminals, and
changes no flag of a descriptor that other programs use too.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Protocol

from twisted.internet.defer import Deferred, TimeoutError

from twisted_net.chat import ChatClient, ChatError
from twisted_net.terminal.flags import ClientSettings
from twisted_net.wire.text import is_blank, printable

MOST_WAITING = 100
"""Lines that may wait for their ack. Then no more are read."""

LONGEST_LINE = 1 << 20
"""Bytes in a line. Servers take far less, but a stream without lines must not fill the memory."""

MOST_UNWRITTEN = 100_000
"""Lines that may wait for a reader of the standard output. Then the program ends."""

CLOSING_TIME = 2.0
"""Seconds that the connection may take to close."""

EXIT_STORED, EXIT_FAILED = 0, 1

BROKEN_PIPE = 128 + 13
"""What a shell gives for a program that SIGPIPE has ended: the reader of its output has gone."""


class Sends(Protocol):
    """What :class:`LineSender` needs of a ``ChatClient``."""

    def send(self, room: str, text: str) -> Deferred[int]: ...


class LineSender:
    """Sends lines to a room, and counts which of them have been stored.

    :param complain: called with each line for the standard error.
    :param settled: called for each line that has been stored or has failed.
    :ivar finished: fires with the exit status, once no line will follow and none waits.
    """

    def __init__(
        self,
        client: Sends,
        room: str,
        complain: Callable[[str], None],
        settled: Callable[[], None] = lambda: None,
    ) -> None:
        self.finished: Deferred[int] = Deferred()
        self.failures = 0
        self._client = client
        self._room = room
        self._complain = complain
        self._settled = settled
        self._lines = 0
        self._waiting = 0
        self._has_ended = False
        self._reasons: set[str] = set()

    def line(self, data: bytes) -> None:
        """Send a line, unless nothing is in it."""
        self._lines += 1
        number = self._lines
        self._waiting += 1
        try:
            text = printable(data.decode())
        except UnicodeDecodeError as error:
            self._failed(number, f"not UTF-8 at byte {error.start} of the line")
            return
        if len(data) > LONGEST_LINE:
            self._failed(number, f"longer than {LONGEST_LINE} bytes")
        elif is_blank(text):
            self._settle()
        else:
            self._client.send(self._room, text).addCallbacks(
                lambda offset: self._settle(),
                lambda failure: self._failed(number, failure.getErrorMessage()),
            )

    def end(self) -> None:
        """Note that no line will follow."""
        self._has_ended = True
        self._check()

    def _failed(self, number: int, why: str) -> None:
        self.failures += 1
        if why not in self._reasons and len(self._reasons) < MOST_WAITING:
            self._reasons.add(why)
            self._complain(f"line {number} was not sent: {why}")
        self._settle()

    def _settle(self) -> None:
        self._waiting -= 1
        self._settled()
        self._check()

    def _check(self) -> None:
        if self._has_ended and not self._waiting and not self.finished.called:
            if self.failures > 1:
                self._complain(f"{self.failures} of {self._lines} lines were not sent")
            self.finished.callback(EXIT_FAILED if self.failures else EXIT_STORED)


def split_lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Return the lines of a stream without their ends. The last one may have none.

    Of a line that is too long, only so much comes that this can be seen.
    """
    rest = bytearray()
    is_cut = False
    for chunk in chunks:
        *lines, last = chunk.split(b"\n")
        for line in lines:
            if not is_cut:
                rest += line
                yield bytes(rest[: LONGEST_LINE + 1]).removesuffix(b"\r")
            rest.clear()
            is_cut = False
        if not is_cut:
            rest += last
        if len(rest) > LONGEST_LINE:
            yield bytes(rest[: LONGEST_LINE + 1])
            rest.clear()
            is_cut = True
    if rest:
        yield bytes(rest)


def plain_line(message: dict[str, Any], is_tagged: bool) -> str:
    """Return the line that is printed for a message of others; empty if it is none.

    :param is_tagged: whether it begins with its room.
    """
    text, sender = printable(message.get("text", "")), printable(message.get("from", ""))
    acts = message.get("action") is True
    if message["type"] == "private":
        return f"* {sender} tells you: {f'{sender} ' if acts else ''}{text}"
    if message["type"] != "message":
        return ""
    tag = f"#{printable(message['room'])} " if is_tagged else ""
    return f"{tag}* {sender} {text}" if acts else f"{tag}<{sender}> {text}"


class _Reader(threading.Thread):
    """Reads a descriptor, and gives its lines to a :class:`LineSender` in the reactor's thread."""

    def __init__(self, reactor: Any, descriptor: int, sender: LineSender) -> None:
        super().__init__(daemon=True)
        self._reactor = reactor
        self._descriptor = descriptor
        self._sender = sender
        self.room = threading.BoundedSemaphore(MOST_WAITING)

    def run(self) -> None:
        for line in split_lines(self._chunks()):
            self.room.acquire()
            self._reactor.callFromThread(self._sender.line, line)
        self._reactor.callFromThread(self._sender.end)

    def _chunks(self) -> Iterator[bytes]:
        while True:
            try:
                chunk = os.read(self._descriptor, 1 << 16)
            except OSError:  # the terminal has gone
                return
            if not chunk:
                return
            yield chunk


class _Writer(threading.Thread):
    """Writes lines to a descriptor.

    :param broken: called in the reactor's thread with an error, if nobody reads any more.
    """

    def __init__(self, reactor: Any, descriptor: int, broken: Callable[[OSError], None]) -> None:
        super().__init__(daemon=True)
        self._reactor = reactor
        self._descriptor = descriptor
        self._broken = broken
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()

    def write(self, line: str) -> bool:
        """Write a line soon. Return whether the reader of the descriptor is not too slow."""
        self._lines.put(line.encode() + b"\n")
        return self._lines.qsize() <= MOST_UNWRITTEN

    def run(self) -> None:
        while True:
            data = memoryview(self._lines.get() or b"")
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except OSError as error:
                self._reactor.callFromThread(self._broken, error)
                return


class PipedClient:
    """The filter.

    :param complain: called with each line for the standard error.
    """

    problem = ""  # each has been told at once

    def __init__(
        self,
        reactor: Any,
        settings: ClientSettings,
        password: str,
        complain: Callable[[str], None],
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self.complain = complain
        self._done: Deferred[int] = Deferred()
        self._troubles: set[str] = set()
        self._client = ChatClient(
            reactor,
            settings.where,
            settings.nick,
            *settings.rooms,
            user=settings.user,
            password=password,
            on_lost=self._lost,
            on_disconnected=self._disconnected,
            call_timeout=settings.timeout,
            **settings.tls,
        )
        self._sender = LineSender(self._client, settings.rooms[0], complain, self._settled)
        self._reader = _Reader(reactor, 0, self._sender)
        self._writer = _Writer(reactor, 1, self._broken)

    async def run(self) -> int:
        """Run until all lines are stored, or with ``--listen`` until cancelled.

        :return: the exit status.
        """
        if not self._settings.listen:
            self._sender.finished.addCallback(self._finish)
        Deferred.fromCoroutine(self._watch())
        self._client.startService()
        self._reader.start()
        self._writer.start()
        try:
            return await self._done
        finally:
            await stop_client(self._client, self._reactor)

    async def _watch(self) -> None:
        """Print what others say. If the server refuses the client for good, that is the end."""
        is_tagged = len(self._settings.rooms) > 1
        try:
            async for message in self._client:
                line = plain_line(message, is_tagged) if self._settings.listen else ""
                if line and not self._done.called and not self._writer.write(line):
                    self.complain(f"{MOST_UNWRITTEN} lines wait for the reader of the output")
                    self._finish(EXIT_FAILED)
        except ChatError as error:
            if not self._sender.failures:  # otherwise it stands there as the reason
                self.complain(str(error))
            self._finish(EXIT_FAILED)

    def _finish(self, status: int) -> None:
        if not self._done.called:
            self._done.callback(status)

    def _settled(self) -> None:
        self._reader.room.release()

    def _broken(self, error: OSError) -> None:
        if not isinstance(error, BrokenPipeError):
            self.complain(f"the standard output cannot be written: {error.strerror}")
        self._finish(BROKEN_PIPE if isinstance(error, BrokenPipeError) else EXIT_FAILED)

    def _lost(self, room: str) -> None:
        self.complain(f"messages of #{printable(room)} were lost")

    def _disconnected(self, why: str) -> None:
        if why not in self._troubles and len(self._troubles) < MOST_WAITING:
            self._troubles.add(why)
            self.complain(f"{self._settings.shown}: {printable(why)}; trying again")


async def stop_client(client: ChatClient, reactor: Any) -> None:
    """Close the connection of a client, and wait for it, but not for long."""
    with suppress(TimeoutError):
        await client.stopService().addTimeout(CLOSING_TIME, reactor)
