"""Tests for :mod:`twisted_net.services.chat` with the programs that people use."""

from __future__ import annotations

import os
import resource

from tests.live.harness import LOCALHOST, Client, LiveTestCase, memory, program

MANY = 2000
"""Connections in one room."""

WELCOME = b"Welcome to the chat server! You are guest-%d in #lobby. /help lists commands.\n"


async def in_the_room(port: int, test: LiveTestCase) -> Client:
    """Connect a client to the chat, and wait for the welcome."""
    client: Client = await test.connect(port)
    await client.has(b"/help lists commands.\n")
    return client


async def answered(client: Client) -> None:
    """Wait until the server has handled everything that a client has sent so far."""
    before = client.received.count(b"* pong\n")
    client.send(b"/ping\n")
    await client.until(lambda: client.received.count(b"* pong\n") > before, "the pong")


class TwoPeopleTests(LiveTestCase):
    """Two users."""

    async def test_two_with_nc_talk(self) -> None:
        """The others get a line with its sender's name; the sender gets nothing back."""
        _, port = await self.serve("netchat", "--history", "0")
        ann = self.nc(port)
        await ann.expect(WELCOME % 1)
        ann.write(b"anybody here?\n/ping\n")  # the others now know of her
        await ann.expect(rb"\* pong\n")
        bob = self.nc(port)
        await bob.expect(WELCOME % 2)
        await ann.expect(rb"\* guest-2 joined #lobby\.\n")
        ann.write(b"hello\n")
        await bob.expect(b"<guest-1> hello\n")
        bob.write(b"hi, \xc3\xa5nn\n")
        await ann.expect(b"<guest-2> hi, \xc3\xa5nn\n")
        bob.signal(2)
        await ann.expect(rb"\* guest-2 left #lobby\.\n")
        self.assertEqual(bytes(bob.output), WELCOME % 2 + b"<guest-1> hello\n")
        self.assertEqual(
            bytes(ann.output),
            WELCOME % 1
            + b"* pong\n* guest-2 joined #lobby.\n"
            + b"<guest-2> hi, \xc3\xa5nn\n* guest-2 left #lobby.\n",
        )

    async def test_a_newcomer_sees_what_was_said(self) -> None:
        """A new user sees some history, marked as old; a program in the same room asks for it."""
        _, port = await self.serve("netchat")
        ann = await in_the_room(port, self)
        ann.send(b"anybody here?\n")
        await answered(ann)
        bob = self.nc(port)
        await bob.expect(WELCOME % 2 + rb"\* Earlier in #lobby, times are UTC:\n\* [-0-9]+\n")
        await bob.expect(rb"\* \d\d:\d\d <guest-1> anybody here\?\n")
        program: Client = await self.connect(port)
        program.send(b'{"type":"hello","nick":"prog","room":"lobby"}\n')
        program.send(b'{"type":"message","room":"lobby","text":"hi","id":"1"}\n')
        await program.has(b'{"type":"ack","id":"1","room":"lobby","offset":2}\n')
        await bob.expect(rb"\* prog joined #lobby\.\n<prog> hi\n")
        await ann.has(b"<prog> hi\n")

    async def test_who_has_typed_everything_gets_the_answers(self) -> None:
        """nc half-closes after its input; every answer arrives before the end."""
        _, port = await self.serve("netchat")
        ann = self.nc(port, "-N")
        ann.write(b"/nick ann\n/who\n")
        ann.end_input()
        self.assertEqual(await ann.ended(), 0)
        self.assertEqual(
            bytes(ann.output), WELCOME % 1 + b"* You are ann now.\n* 1 in #lobby: ann\n"
        )

    async def test_telnet(self) -> None:
        """Lines that end as in telnet work like all others."""
        telnet = program("telnet")
        _, port = await self.serve("netchat")
        bob = await in_the_room(port, self)
        ann = self.spawn(telnet, LOCALHOST, str(port))
        await ann.expect(rb"You are guest-2 in #lobby\.")
        ann.write(b"hello from telnet\n")
        await bob.has(b"<guest-2> hello from telnet\n")
        bob.send(b"hello, telnet\n")
        await ann.expect(rb"<guest-1> hello, telnet\r?\n")

    async def test_node(self) -> None:
        """A few lines of Node, with its own line endings, take part."""
        node = program("node")
        _, port = await self.serve("netchat")
        bob = await in_the_room(port, self)
        ann = self.spawn(node, "-e", _NODE, str(port))
        await bob.has(b"<guest-2> hello from node\n")
        bob.send(b"hello, node\n")
        await ann.expect(rb"^heard: <guest-1> hello, node$")
        self.assertEqual(await ann.ended(), 0)
        await bob.has(b"* guest-2 left #lobby.\n")


_NODE = r"""
const socket = require('net').connect(Number(process.argv[1]), '127.0.0.1');
require('readline').createInterface({ input: socket }).on('line', (line) => {
  if (line.startsWith('Welcome')) socket.write('hello from node\r\n');
  if (line.endsWith('hello, node')) { console.log('heard: ' + line); socket.end(); }
});
"""


class ManyPeopleTests(LiveTestCase):
    """A full room."""

    def setUp(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = MANY + 500
        if hard != resource.RLIM_INFINITY and hard < wanted:
            self.skipTest(f"a process may have only {hard} files open here")
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))

    async def test_two_thousand_hear_one(self) -> None:
        """One of two thousand users sends a line, and all others get it once."""
        _, port = await self.serve("netchat")
        clients: list[Client] = []
        for _ in range(MANY // 100):
            clients += await self.together(*(in_the_room(port, self) for _ in range(100)))
        speaker, *others = clients
        speaker.send(b"/nick speaker\nhello, everybody\n")
        await self.together(*(each.has(b"<speaker> hello, everybody\n") for each in others))
        await answered(speaker)
        heard = sum(each.received.count(b"<speaker> hello, everybody\n") for each in others)
        self.assertEqual(heard, MANY - 1)
        self.assertNotIn(b"hello, everybody", speaker.received)

    async def test_health_checks_are_not_mentioned(self) -> None:
        """A client that connects and closes leaves no line in the room, and at most a debug
        line."""
        server, port = await self.serve("netchat")
        watcher = await in_the_room(port, self)
        for _ in range(100):
            check: Client = await self.connect(port)
            check.transport.loseConnection()
            await check.closed()
        marker = await in_the_room(port, self)  # connected after all of them
        await watcher.has(b" joined #lobby.\n")
        marker.send(b"/who\n")
        await marker.has(b"* 2 in #lobby: ")
        joined = [line for line in bytes(watcher.received).splitlines() if b"joined" in line]
        self.assertEqual(len(joined), 1, joined)
        self.assertNotIn(b" left ", watcher.received)
        self.assertEqual([line for line in server.log("Connection") if "#debug]" not in line], [])
        self.assertEqual(server.log("Traceback|Unhandled"), [])


class StrangeInputTests(LiveTestCase):
    """What the others get of unusual input."""

    async def test_ten_megabytes_without_a_line_feed(self) -> None:
        """It costs one error line and no memory; others are not affected; the next line works."""
        server, port = await self.serve("netchat")
        flooder, ann, bob = await self.together(*(in_the_room(port, self) for _ in range(3)))
        await self.together(answered(ann), answered(bob), answered(flooder))
        before = memory(server.pid)
        for number in range(10):
            flooder.send(b"x" * (1 << 20))
            ann.send(b"line %d\n" % number)
            await bob.has(b"> line %d\n" % number)
        flooder.send(b"\nstill here\n")
        await self.together(bob.has(b"> still here\n"), answered(flooder))
        growth = memory(server.pid, "VmHWM") - before
        self.assertLess(growth, 2 << 20)
        errors = [line for line in bytes(flooder.received).splitlines() if line.startswith(b"!")]
        self.assertEqual(errors, [b"! A line has at most 8192 bytes; yours was not sent."])
        self.assertNotIn(b"xxx", ann.received + bob.received)

    async def test_what_acts_on_a_terminal_does_not_arrive(self) -> None:
        """Control characters, escape sequences and bidirectional overrides are removed."""
        _, port = await self.serve("netchat")
        ann, bob = await self.together(*(in_the_room(port, self) for _ in range(2)))
        start = len(bob.received)
        ann.send(
            b"\x1b[31mred\x1b[0m \x07\x08\x00and\x1b]0;title\x07 \xe2\x80\xae\xc2\x9b2Jplain\r\n"
        )
        ann.send(b"\rfrom\rthe start\n")
        await bob.has(b"the start\n")
        lines = [line for line in bytes(bob.received[start:]).splitlines() if line[:1] == b"<"]
        self.assertEqual(
            [line.partition(b"> ")[2] for line in lines], [b"red and plain", b"fromthe start"]
        )
        for byte in set(bob.received):
            self.assertTrue(byte >= 32 or byte == 10, byte)

    async def test_names_are_as_harmless_as_lines(self) -> None:
        """Names with such characters are not shown to others."""
        _, port = await self.serve("netchat")
        ann, bob = await self.together(*(in_the_room(port, self) for _ in range(2)))
        ann.send(b"/nick \x1b[31mann\n/nick a\xe2\x80\xaenn\n/me \x1b[2Jwaves\n")
        await bob.has(b"waves\n")
        self.assertNotIn(b"\x1b", bob.received + ann.received)
        self.assertNotIn(b"\xe2\x80\xae", bob.received + ann.received)

    async def test_not_utf8_is_one_error_line(self) -> None:
        """The line is not sent; its sender gets an error, and stays."""
        _, port = await self.serve("netchat")
        ann, bob = await self.together(*(in_the_room(port, self) for _ in range(2)))
        ann.send(b"caf\xe9\xff\xfe\nall right\n")
        await bob.has(b"> all right\n")
        await answered(ann)
        errors = [line for line in bytes(ann.received).splitlines() if line.startswith(b"!")]
        self.assertEqual(len(errors), 1, errors)
        self.assertNotIn(b"caf", bob.received)

    async def test_noise_harms_nobody(self) -> None:
        """Megabytes of random bytes do not affect the server or the others."""
        server, port = await self.serve("netchat")
        noise, ann, bob = await self.together(*(in_the_room(port, self) for _ in range(3)))
        noise.transport.pauseProducing()  # it does not read its errors either
        noise.send(os.urandom(4 << 20))
        for number in range(5):
            ann.send(b"line %d\n" % number)
            await bob.has(b"> line %d\n" % number)
        self.assertEqual(server.log("Traceback|Unhandled"), [])
