"""``netchat-passwd`` and ``--auth file:FILE``, with real processes, threads and terminals."""

from __future__ import annotations

import os
import pty
from pathlib import Path

from tests.live.harness import LOCALHOST, Client, LiveTestCase, Program, Server, script


class AccountsTests(LiveTestCase):
    """A file of accounts, and a chat that uses it."""

    async def passwd(self, here: Path, *words: str, typed: bytes = b"") -> Program:
        """Run ``netchat-passwd`` with a pipe, and check that it succeeds."""
        ran: Program = self.spawn(script("netchat-passwd"), *words, cwd=here)
        ran.write(typed)
        ran.end_input()
        self.assertEqual(await ran.ended(), 0, ran)
        return ran

    async def chat(self, here: Path, *flags: str, starter: str = "twistd") -> tuple[Server, int]:
        """Start a chat with the accounts of ``users.txt``."""
        words = ("netchat", "--port", "0", "--interface", LOCALHOST, "--auth", "file:users.txt")
        before = self.command() if starter == "twistd" else (script("twist"), "--log-format=text")
        server: Server = self.spawn(
            *before, *words, "--allow-plain-login", *flags, cwd=here, kind=Server
        )
        return server, await server.port()

    async def test_accounts(self) -> None:
        """An account that the program adds, changes or deletes while the chat runs counts from the
        next login on. The server never sees the password's text in the file."""
        for starter in ("twistd", "twist"):
            here = self.directory()
            await self.passwd(here, "users.txt", "ann", typed=b"secret-1\n")
            self.assertEqual((here / "users.txt").stat().st_mode & 0o777, 0o600)
            server, port = await self.chat(here, starter=starter)
            await self.login(port, "ann", "secret-1", right=True)
            await self.passwd(here, "users.txt", "ann", typed=b"secret-2\n")
            await self.passwd(here, "users.txt", "bob", typed=b"secret-3\n")
            await self.login(port, "bob", "secret-3", right=True)
            await self.login(port, "ann", "secret-1", right=False)
            await self.passwd(here, "-D", "users.txt", "bob")
            await self.login(port, "bob", "secret-3", right=False)
            self.assertEqual(server.log("secret|warn|Traceback|Unhandled"), [])

    async def test_plain_text(self) -> None:
        """A file in plain text is read, with a warning, and ``--hash`` mends it."""
        here = self.directory()
        (here / "users.txt").write_text("ann:secret-1\n")
        server, port = await self.chat(here)
        self.assertEqual(len(server.log("1 of 1 passwords are in plain text.*netchat-passwd")), 1)
        await self.login(port, "ann", "secret-1", right=True)
        await self.passwd(here, "--hash", "users.txt")
        self.assertNotIn("secret-1", (here / "users.txt").read_text())
        await self.login(port, "ann", "secret-1", right=True)

    async def test_logins_hold_nobody_up(self) -> None:
        """While many passwords are checked, the others' lines are answered."""
        here = self.directory()
        await self.passwd(here, "users.txt", "ann", typed=b"secret-1\n")
        server, port = await self.chat(here, "--allow-anonymous", "--proxy-protocol", LOCALHOST)

        async def client_from(number: int) -> Client:
            """Connect as a client of a proxy: attempts from one address wait for each other."""
            client: Client = await self.connect(port)
            client.send(b"PROXY TCP4 192.0.2.%d 192.0.2.1 1 1\r\n" % number)
            return client

        bob = await client_from(99)
        guessing = [await client_from(number) for number in range(20)]
        for number, each in enumerate(guessing):
            # Names that there are not: each takes a hash, too.
            each.send(b"/login nobody%d wrong\n" % number)
        pings = 0
        while any(b"login failed" not in each.received for each in guessing):
            bob.received.clear()
            bob.send(b"/ping\n")
            await bob.has(b"* pong\n")
            pings += 1
        # If the reactor's thread made the hashes, there would be about one ping for each.
        self.assertGreater(pings, 3 * len(guessing))
        self.assertEqual(server.log("Traceback|Unhandled"), [])

    async def test_a_terminal(self) -> None:
        """At a terminal, the program asks twice, and shows nothing of what is typed."""
        here = self.directory()
        for typed, status in (((b"s3cret", b"s3cret"), 0), ((b"s3cret", b"other"), 1)):
            shown, ended = await self.in_terminal(here, typed)
            self.assertEqual(ended, status, shown)
            self.assertNotIn(b"s3cret", shown)
        self.assertIn(b"the two passwords differ", shown)
        _, port = await self.chat(here)
        await self.login(port, "ann", "s3cret", right=True)

    async def in_terminal(self, here: Path, typed: tuple[bytes, ...]) -> tuple[bytes, int]:
        """Run the program in a terminal. Return what it shows, and its status."""
        from twisted.internet import reactor
        from twisted.internet.defer import Deferred
        from twisted.internet.threads import deferToThread

        ours, theirs = pty.openpty()
        prompts = iter((b"Password of ann: ", b"Again: "))

        def talk() -> bytes:
            shown = bytearray()
            for prompt, answer in zip(prompts, typed, strict=True):
                while prompt not in shown:
                    shown.extend(os.read(ours, 1000))
                os.write(ours, answer + b"\n")
            while True:
                try:
                    data = os.read(ours, 1000)
                except OSError:  # EIO: the program has ended
                    return bytes(shown)
                shown.extend(data)

        ran: Program = Program("netchat-passwd")
        setsid = ("/usr/bin/setsid", "--ctty", "--wait", script("netchat-passwd"))
        reactor.spawnProcess(  # type: ignore[attr-defined]  # it is a module to mypy
            *(ran, setsid[0], (*setsid, "users.txt", "ann"), dict(os.environ), str(here)),
            childFDs={0: theirs, 1: theirs, 2: theirs},
        )
        os.close(theirs)
        self.addCleanup(lambda: Deferred.fromCoroutine(ran.stop()))
        shown = await deferToThread(talk)
        os.close(ours)
        return shown, await ran.ended()

    async def login(self, port: int, name: str, password: str, right: bool) -> None:
        """Log in, and check whether the password is right."""
        client: Client = await self.connect(port)
        client.send(f"/login {name} {password}\n".encode())
        await client.has(f"You are {name} ".encode() if right else b"! The login failed.\n")
        client.transport.abortConnection()
        await client.closed()
