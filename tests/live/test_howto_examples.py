"""The examples of the how-to pages are run as their readers would run them.

Those with other people's packages need ``pip install -e '.[examples]'``.
"""

from __future__ import annotations

import hashlib
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.util import find_spec
from typing import Any

import pexpect  # type: ignore[import-untyped]
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest

from tests.live.harness import LOCALHOST, Client, Program, Server, program
from tests.live.test_examples import EXAMPLES, FOREIGN, ExampleCase, client_frame
from tests.web.sockets import opening
from twisted_net.wire.websocket import WebSocket

WARNINGS = ("PYTHONWARNINGS",)
"""Other people's warnings are no errors."""

PATIENCE = 60


def needs(package: str) -> None:
    """Skip a test whose package is not installed. ``.ci/run`` counts a skip as a failure.

    :raises SkipTest: it is not.
    """
    if find_spec(package) is None:
        raise SkipTest(f"{package} is not installed: pip install '.[examples]'")


class TestingTests(ExampleCase):
    """The tests among the examples pass, and fail if what they test is wrong."""

    def trial(self, *names: str, break_it: str = "") -> tuple[int, str]:
        """Run tests of examples in a directory with only these; return the status and the output.

        :param break_it: what to take out of the tested file, the first one.
        """
        for name in names:
            shutil.copy(EXAMPLES / name, self.where)
        if break_it:
            text = (self.where / names[0]).read_text()
            self.assertIn(break_it, text)
            (self.where / names[0]).write_text(text.replace(break_it, ""))
        command = [sys.executable, "-m", "twisted.trial", names[1].removesuffix(".py")]
        done = subprocess.run(
            command, cwd=self.where, capture_output=True, text=True, timeout=PATIENCE
        )
        return done.returncode, done.stdout

    def test_first_server(self) -> None:
        """The tests of the first server."""
        names = ("first_server.py", "test_first_server.py")
        status, output = self.trial(*names)
        self.assertEqual((status, output.splitlines()[-1]), (0, "PASSED (successes=3)"))
        self.assertNotEqual(self.trial(*names, break_it=".upper()")[0], 0)

    def test_own_framing(self) -> None:
        """The tests of the framing."""
        names = ("own_framing.py", "test_own_framing.py")
        status, output = self.trial(*names)
        self.assertEqual((status, output.splitlines()[-1]), (0, "PASSED (successes=4)"))
        self.assertNotEqual(self.trial(*names, break_it="self.rest + ")[0], 0)


class ChatTests(ExampleCase):
    """A bridge between two chats, and accounts from a database."""

    async def test_bridge(self) -> None:
        """What is said on either side is heard on the other, once, also after a restart there."""
        store = f"sqlite:{self.where}/chat.db"
        first, port = await self.serve("netchat")
        second, other = await self.serve("netchat", "--store", store)
        ports = (f"tcp:{LOCALHOST}:{port}", f"tcp:{LOCALHOST}:{other}")
        bridge = self.start("chat_bridge.py", *ports)
        await bridge.expect(rb"^Joined lobby on both sides$")
        ann, bob = await self.text(port, b"ann"), await self.text(other, b"bob")
        ann.send(b"hello\n")
        await bob.has(b"<bridge> <ann> hello\n")
        bob.send(b"hello, ann\n")
        await ann.has(b"<bridge> <bob> hello, ann\n")
        await second.stop()
        ann.send(b"are you there?\n")
        again = self.twistd(
            "-n", "netchat", "--interface", LOCALHOST, "--port", str(other), "--store", store
        )
        await again.port(f"--port {other}")
        eve = await self.connect(other)
        eve.send(b'{"type":"hello","nick":"eve","room":"lobby"}\n')
        await eve.has(b'"type":"joined"')
        ann.send(b"and now?\n")
        await eve.has(b"<ann> and now?")
        eve.send(b'{"type":"history","room":"lobby"}\n')
        await eve.has(b'"type":"history"')
        _, _, history = eve.received.partition(b'"type":"history"')
        self.assertEqual(history.count(b"<ann> are you there?"), 1, eve)
        self.assertEqual(first.status, None)

    async def text(self, port: int, name: bytes) -> Any:
        """Return a client of the text form with a name."""
        client = await self.connect(port)
        client.send(b"/nick %b\n" % name)
        await client.has(b"You are %b now" % name)
        return client

    async def test_accounts(self) -> None:
        """Whoever is in the database can log in, with the password alone."""
        for name in (b"ann", b"bob"):
            await deferToThread(self.add_member, "chat_accounts_add.py", name.decode())
        port = await self.serve_example("chat_accounts.py")
        ann = await self.connect(port)
        ann.send(b"/login ann wrong\n")
        await ann.has(b"! ")
        self.assertNotIn(b"You are ann now", ann.received)
        ann.send(b"/login ann secret of ann\n")
        await ann.has(b"You are ann now")
        nobody = await self.connect(port)
        nobody.send(b"/login nobody secret of ann\n")
        await nobody.has(b"! ")

    async def test_accounts_in_twistd(self) -> None:
        """The plugin gives ``--auth`` a kind of accounts."""
        plugins = self.where / "twisted" / "plugins"
        plugins.mkdir(parents=True)
        shutil.copy(EXAMPLES / "members_plugin.py", plugins)
        shutil.copy(EXAMPLES / "chat_accounts.py", self.where)
        await deferToThread(self.add_member, "chat_accounts_add.py", "ann")
        flags = ("--port", "0", "--interface", LOCALHOST, "--allow-plain-login")
        command = self.command("netchat", *flags, "--auth", f"members:{self.where}/members.db")
        server: Any = self.spawn(
            *(program("env"), f"PYTHONPATH={self.where}", *command), cwd=self.where, kind=Server
        )
        ann = await self.connect(await server.port())
        ann.send(b"/login ann secret of ann\n")
        await ann.has(b"You are ann in #lobby.")

    def add_member(self, example: str, name: str) -> None:
        """Run the program that asks for a password, in a terminal."""
        command = [str(EXAMPLES / example), name]
        child = pexpect.spawn(sys.executable, command, cwd=str(self.where), timeout=PATIENCE)
        child.expect("Password: ")
        child.sendline(f"secret of {name}")
        child.expect(pexpect.EOF)
        child.close()
        self.assertEqual(child.exitstatus, 0)
        with closing(sqlite3.connect(self.where / "members.db")) as db:
            query = "SELECT salt, hash FROM members WHERE name = ?"
            salt, known = db.execute(query, (name,)).fetchone()
        made = hashlib.scrypt(f"secret of {name}".encode(), salt=salt, n=1 << 14, r=8, p=1)
        self.assertEqual(made, known)


class ProxyTests(ExampleCase):
    """A server behind a proxy that speaks the PROXY protocol."""

    async def test_behind_proxy(self) -> None:
        """Clients have the addresses that the proxy tells, and are counted by them."""
        port = await self.serve_example("behind_proxy.py")
        header = b"PROXY TCP4 192.0.2.%d 192.0.2.1 50000 80\r\nhello\n"
        clients = []
        for address in (7, 7, 7, 8):
            clients.append(await self.connect(port))
            clients[-1].send(header % address)
            if len(clients) != 3:
                await self.hears(clients[-1], f"You are 192.0.2.{address}")
        await clients[2].closed()  # the third of its address
        direct = await self.connect(port)
        direct.send(b"hello\n")
        await direct.closed()
        self.assertEqual(direct.received, b"")


class ForeignTests(ExampleCase):
    """Programs with other people's packages."""

    async def test_a_taken_port(self) -> None:
        """Klein's and autobahn's end with one line and status 1."""
        needs("klein")
        needs("autobahn")
        busy = self.listen()
        for name in sorted(FOREIGN - {"embedding_conch.py"}):
            example = self.start(name, busy.port, without=WARNINGS)
            self.assertEqual(await example.ended(), 1, example)
            self.assertRegex(example.errors.decode(), r"\ACannot listen: .*already in use\n\Z")

    async def uses_the_chat(self, chat: int, web: int) -> Client:
        """Check that the site counts the users, and tells them what is posted."""
        self.assertEqual(await self.curl(web), "In the chat: 0\n")
        ann: Client = await self.connect(chat)
        await ann.has(b"/help lists commands.\n")
        self.assertEqual(await self.curl(web, "-d", "Lunch!"), "In the chat: 1\n")
        await ann.has(b"* Lunch!\n")
        return ann

    async def test_klein(self) -> None:
        """A site of Klein's and the chat."""
        needs("klein")
        example = self.start("embedding_klein.py", 0, 0, without=WARNINGS)
        await self.uses_the_chat(await self.port(example), await self.port(example))

    async def test_aiohttp(self) -> None:
        """A site of aiohttp's and the chat, which says goodbye when the program ends."""
        needs("aiohttp")
        example = self.start("embedding_aiohttp.py", 0, 0, without=WARNINGS)
        chat = await self.port(example)
        web = int((await example.expect(rb"Running on http://0\.0\.0\.0:(\d+)"))[1])
        await self.ends_well(example, await self.uses_the_chat(chat, web))

    async def test_fastapi(self) -> None:
        """An application of FastAPI and the chat."""
        needs("fastapi")
        needs("uvicorn")
        name = "embedding_fastapi.py".removesuffix(".py")
        command = ("-m", "uvicorn", f"{name}:app", "--port", "0", "--app-dir", str(EXAMPLES))
        environment = (program("env"), "PORT=0")
        example: Program = self.spawn(
            *environment, sys.executable, "-u", *command, without=WARNINGS
        )
        chat = await self.port(example)
        await example.until(lambda: b"running on http" in example.errors, "uvicorn to listen")
        web = int(example.errors.partition(b"running on http://127.0.0.1:")[2].split()[0])
        self.assertEqual(await self.curl(web), '{"users":0}')
        ann = await self.connect(chat)
        await ann.has(b"/help lists commands.\n")
        posted = ("-H", "Content-Type: application/json", "-d", '{"text": "Lunch!"}')
        self.assertEqual(await self.curl(web, *posted), '{"users":1}')
        await ann.has(b"* Lunch!\n")
        await self.ends_well(example, ann)

    async def ends_well(self, example: Program, ann: Client) -> None:
        """Check that Ctrl-C ends a program, which closes the chat first."""
        example.signal(signal.SIGINT)
        await ann.has(b"* The connection is closed.\n")
        await example.ended()
        self.assertNotIn(b"Traceback", example.output + example.errors)

    async def test_autobahn(self) -> None:
        """A browser gets back what it sends, and a silent one is closed."""
        needs("autobahn")
        example = self.start("embedding_autobahn.py", 0, 3, without=WARNINGS)
        browser = await self.connect(await self.port(example))
        browser.send(opening(host="localhost") + client_frame("hello"))
        await browser.has(WebSocket().encode("hello"))
        await browser.closed()

    async def test_conch(self) -> None:
        """Who has the key gets a shell in which the chat can be used; nobody else does."""
        needs("bcrypt")
        program("ssh")
        for name in ("host_key", "operator", "other"):
            make = ("-q", "-t", "ed25519", "-N", "", "-f", name)
            subprocess.run([program("ssh-keygen"), *make], cwd=self.where, check=True)
        example = self.start("embedding_conch.py", 0, 0, without=WARNINGS)
        chat, ssh = await self.port(example), await self.port(example)
        ann = await self.connect(chat)
        await ann.has(b"/help lists commands.\n")
        await deferToThread(self.use_shell, ssh)
        await ann.has(b"* hello\n")

    def use_shell(self, port: int) -> None:
        """Say something in the chat by the shell; try another key as well."""
        shell = self.ssh(port, "operator")
        shell.expect(">>> ")
        shell.sendline("len(chat)")
        shell.expect(r"\b1\b")
        shell.sendline("chat.send_to_all('* hello')")
        shell.expect(">>> ")
        shell.send("\x04")
        shell.expect(pexpect.EOF)
        shell.close()
        other = self.ssh(port, "other")
        other.expect("Permission denied")
        other.close()

    def ssh(self, port: int, key: str) -> Any:
        """Start ssh in a terminal."""
        options = ["-p", str(port), "-i", key, "-F", "/dev/null"]
        for option in ("IdentitiesOnly=yes", "StrictHostKeyChecking=no", "BatchMode=yes"):
            options += ["-o", option]
        options += ["-o", "UserKnownHostsFile=/dev/null", f"operator@{LOCALHOST}"]
        return pexpect.spawn("ssh", options, cwd=str(self.where), timeout=PATIENCE)
