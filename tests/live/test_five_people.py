"""Two browsers, ``nc``, a program and the terminal client in one room."""

from __future__ import annotations

from typing import Any

import trustme

from tests.live.harness import LOCALHOST, Program, program
from tests.live.test_page import ALL_SENT, PageTestCase
from tests.live.test_terminal import client
from tests.live.tmux import Terminal, TerminalTestCase


class FivePeopleTests(PageTestCase, TerminalTestCase):
    """All hear each other, and miss nothing when the server is restarted."""

    async def person_in_terminal(self, *where: str) -> Terminal:
        """Start the terminal client."""
        terminal = await self.terminal(*client("-n", "tina", *where))
        await terminal.sees(r"\| connected")
        return terminal

    async def listening(self, *where: str) -> Program:
        """Start a program that says what it reads and prints what it hears."""
        running: Program = self.spawn(*client("-n", "prog", "--listen", *where))
        running.write(b"prog is here\n")
        return running

    async def all_hear(self, text: str, *speaking: Any) -> None:
        """Wait until everybody has heard a text once, but those who have said it."""
        for tab in self.tabs:
            await tab.shows(text)
            shown = await tab.texts("#log")
            self.assertEqual("".join(shown).count(text), 1, shown)
        for each in self.programs:
            if each not in speaking:
                await each.expect(rf"> {text}\r?$".encode())
                self.assertEqual(each.output.count(text.encode()), 1)
        await self.tina.sees(rf"> {text}$")
        self.assertEqual((await self.tina.screen()).count(text), 1)

    async def talk(self, word: str) -> None:
        """Let everybody say something, and everybody hear it."""
        ann, bea = self.tabs
        nc, listening = self.programs
        await ann.say(f"{word} from ann")
        await self.all_hear(f"{word} from ann")
        await bea.say(f"{word} from bea")
        await self.all_hear(f"{word} from bea")
        nc.write(f"{word} from nc\n".encode())
        await self.all_hear(f"{word} from nc", nc)
        listening.write(f"{word} from prog\n".encode())
        await self.all_hear(f"{word} from prog", listening)
        await self.tina.type(f"{word} from tina")
        await self.all_hear(f"{word} from tina")
        for tab in self.tabs:
            await tab.waits(ALL_SENT)

    async def come_back(self, nc: Program) -> None:
        """The server was restarted: everybody comes back, and has missed nothing."""
        await nc.expect(b"Welcome")
        self.programs[0] = nc
        nc.write(b"the server is back\n")
        await self.all_hear("the server is back", nc)
        for tab in self.tabs:
            await tab.connected()
        await self.tina.sees(r"Back in #lobby after \d+ s\. You missed nothing")
        await self.talk("second")

    async def test_without_tls(self) -> None:
        """The server is restarted under them, with a store."""
        store = ("--store", f"sqlite:{self.directory() / 'chat.db'}")
        server = await self.chat(*store)
        where = f"{LOCALHOST}:{self.port}"
        nc = self.nc(self.port)
        await nc.expect(b"Welcome")
        self.programs = [nc, await self.listening(where)]
        await nc.expect(b"prog is here")
        self.tina = await self.person_in_terminal(where)
        for name in ("ann", "bea"):
            await self.person(name)
        await self.talk("first")
        await server.stop()
        await self.tina.sees(r"\| connecting: ")
        server = await self.chat(*store, again=True)
        await self.come_back(self.nc(self.port))
        self.assertEqual(server.log("Traceback|Unhandled"), [])

    async def test_over_tls_on_one_port(self) -> None:
        """The same with TLS, all on one port; ``openssl s_client`` is in place of ``nc``."""
        directory = self.directory()
        authority = trustme.CA()
        ca, own = str(directory / "ca.pem"), str(directory / "server.pem")
        authority.cert_pem.write_to_path(ca)
        issued = authority.issue_cert("localhost")
        issued.private_key_and_cert_chain_pem.write_to_path(own)
        flags = (
            *("--store", f"sqlite:{directory / 'chat.db'}", "--interface", LOCALHOST),
            *("--cert", own, "--key", own),
        )
        server = self.twistd("netchat", "--tls-port", "0", *flags)
        self.port = await server.port("--tls-port 0")
        where = f"tls://localhost:{self.port}"
        nc = self.openssl(ca)
        await nc.expect(b"Welcome")
        self.programs = [nc, await self.listening("--ca", ca, where)]
        await nc.expect(b"prog is here")
        self.tina = await self.person_in_terminal("--ca", ca, where)
        self.url = f"https://localhost:{self.port}/"
        for name in ("ann", "bea"):
            await self.person(name, ignore_https_errors=True)
        await self.talk("first")
        await server.stop()
        await self.tina.sees(r"\| connecting: ")
        server = self.twistd("netchat", "--tls-port", str(self.port), *flags)
        await server.port(f"--tls-port {self.port}")
        await self.come_back(self.openssl(ca))
        self.assertEqual(server.log("Traceback|Unhandled"), [])

    def openssl(self, ca: str) -> Program:
        """Start ``openssl s_client``."""
        running: Program = self.spawn(
            *(program("openssl"), "s_client", "-quiet", "-CAfile", ca),
            *("-connect", f"localhost:{self.port}"),
        )
        return running
