"""The operators' dashboard in a real browser, against a real ``twistd netchat``."""

from __future__ import annotations

import os
import re
import signal
import sys
from typing import Any

from tests.live.browser import PHONE, WIDE, BrowserTestCase, Tab, axe_source
from tests.live.harness import LOCALHOST, Program, Server

ADMIN = "tcp:0:interface=127.0.0.1"

MARKUP = "<img src=x onerror=alert(1)>"

AXE = """
axe.run().then(({ violations }) => violations.map(({ id, nodes }) =>
  [id, nodes.map((node) => [node.html.slice(0, 200), node.failureSummary])]))
"""

PHONE_OVERFLOW = "document.documentElement.scrollWidth - innerWidth"


SEVERAL = """
import sys
from twisted.internet import task
from twisted_net import EchoFactory, serve
from twisted_net.chat import ChatFactory
from twisted_net.web import AdminFactory

async def main(reactor):
    echo, chat = EchoFactory(), ChatFactory()
    local = "tcp:0:interface=127.0.0.1"
    view = AdminFactory({"echo": echo, "chat": chat})
    await serve(reactor, local, echo, (local, chat), (local, view))

task.react(main)
"""


class DashboardTests(BrowserTestCase):
    async def dashboard(self, *flags: str, **how: Any) -> tuple[Server, int, Tab]:
        """Start a chat, and open its dashboard."""
        where = ("--port", "0", "--interface", LOCALHOST, "--admin", ADMIN)
        server = self.twistd("netchat", *where, *flags)
        port = await server.port()
        url = f"http://localhost:{await server.port(f'--admin {ADMIN}')}/"
        return server, port, await self.open(url, is_connected=False, **how)

    async def person(self, port: int, name: str) -> Any:
        """Enter the chat."""
        client = await self.connect(port)
        await client.has(b"Welcome")
        client.send(f"/nick {name}\n".encode())
        await client.has(name.encode())
        return client

    async def test_it_is_live(self) -> None:
        """People come, speak and go, and the dashboard shows it by itself."""
        _, port, tab = await self.dashboard()
        await tab.shows("ready", "#state-text")
        await tab.shows("none", "#connections-body")
        ann, bob = [await self.person(port, name) for name in ("ann", "bob")]
        await tab.shows("ann", "#connections-body")
        await tab.shows("Connections: 2 of 2", "#connections-title")
        await tab.shows("#lobby", "#rooms")
        ann.send(b"hello\n")
        await bob.has(b"hello")
        await tab.waits("document.querySelectorAll('.chart polyline').length >= 8")
        await tab.waits(
            "[...document.querySelectorAll('.chart polyline')]"
            ".every((each) => each.getAttribute('points').split(' ').length > 1)"
        )
        bob.send(b"/quit\n")
        await bob.closed()
        await tab.shows("quit", "#endings")
        await tab.shows("bob", "#ended")
        await tab.shows("Connections: 1 of 1", "#connections-title")

    async def test_several_services(self) -> None:
        """Of a program with several, each has its own list, and a link to it."""
        started: Program = self.spawn(sys.executable, "-u", "-c", SEVERAL)
        ports = [int((await started.expect(rb"^Listening on port (\d+)$"))[1]) for _ in range(3)]
        echo = await self.connect(ports[0])
        echo.send(b"x")
        await echo.has(b"x")
        tab = await self.open(f"http://localhost:{ports[2]}/", is_connected=False)
        await tab.shows("Connections: 1 of 1", "#connections-title")
        await self.person(ports[1], "ann")
        await self.person(ports[1], "bob")
        await tab.do(lambda page: page.click("#service a[href='/?service=chat']"))
        await tab.shows("ann", "#connections-body")
        await tab.shows("Connections: 2 of 2", "#connections-title")
        await tab.do(lambda page: page.focus("[data-key=look-1]"))
        await tab.press("Enter")
        await tab.shows("Connection 1: ann", "#tap-title")

    async def test_looking_and_closing_by_keyboard(self) -> None:
        """A tap shows what is said, a dialog asks before it closes; names and texts stay text."""
        server, port, tab = await self.dashboard()
        ann = await self.person(port, "ann")
        await tab.shows("ann", "#connections-body")
        await tab.do(lambda page: page.focus("[data-key=look-1]"))
        await tab.press("Enter")
        await tab.shows("looking on", "#tap-log")
        ann.send(f"{MARKUP}\n/login ann secret\n".encode())
        await tab.shows(MARKUP, "#tap-log")
        await tab.shows("/login ann ***", "#tap-log")
        self.assertNotIn("secret", "".join(await tab.texts("#tap-log")))
        await tab.press("Escape")
        await server.until(lambda: server.log("looks on at connection 1 no more"), "the end")
        await tab.do(lambda page: page.focus("[data-key=close-1]"))
        await tab.press("Enter")
        await tab.waits("document.getElementById('sure').open")
        await tab.press("Escape")
        await tab.waits("!document.getElementById('sure').open")
        await tab.do(lambda page: page.focus("[data-key=close-1]"))
        await tab.press("Enter")
        await tab.do(lambda page: page.focus("#why"))
        await tab.type("too loud", "Enter")
        await ann.has(b"closed the connection")
        ann.transport.loseConnection()
        await tab.shows("kicked (too loud)", "#ended")

    async def test_the_dialog_that_asks(self) -> None:
        """It is as high as what is in it. The focus stays in the list, however that has changed."""
        _, port, tab = await self.dashboard()
        ann = await self.person(port, "ann")
        await tab.shows("ann", "#connections-body")
        for keys in ("Escape",), ("Enter",):
            await tab.do(lambda page: page.focus("[data-key=close-1]"))
            await tab.press("Enter")
            await tab.waits("document.activeElement.id === 'why'")
            height = "document.getElementById('sure').getBoundingClientRect().height"
            self.assertLess(await tab.evaluate(height), 250)
            # Until the list is drawn again:
            await tab.evaluate("document.querySelector('[data-key=close-1]').isOld = true")
            await tab.waits("document.querySelector('[data-key=close-1]').isOld === undefined")
            await tab.press(*keys)
            if keys == ("Escape",):
                await tab.waits("document.activeElement.dataset.key === 'close-1'")
        await ann.has(b"closed the connection")
        ann.transport.loseConnection()
        await tab.shows("none", "#connections-body")
        await tab.waits("document.activeElement.matches('#connections .scroll')")

    async def test_a_token(self) -> None:
        """The dashboard asks for it, and keeps it only in the page."""
        token = self.directory() / "token"
        token.write_text("0123456789abcdef")
        _, _, tab = await self.dashboard("--admin-token-file", str(token))
        await tab.waits("document.activeElement.id === 'token'")
        for text in ("wrong wrong wrong", "0123456789abcdef"):
            await tab.type(text, "Enter")
            if text != "0123456789abcdef":
                await tab.shows("This token is wrong.", "#login-error")
        await tab.shows("ready", "#state-text")
        await tab.waits("document.getElementById('login').hidden")
        self.assertEqual(await tab.evaluate("document.activeElement.id"), "main")
        self.assertEqual(await tab.evaluate("localStorage.length + sessionStorage.length"), 0)
        self.assertEqual(await tab.evaluate("document.cookie"), "")
        self.assertTrue(all("401" in each for each in tab.errors), tab.errors)
        tab.errors.clear()  # the browser's own words about the answers

    async def test_draining(self) -> None:
        """It says that the service is not ready, and why; later, that it is gone."""
        server, port, tab = await self.dashboard("--drain", "60")
        ann = await self.person(port, "ann")
        ann.transport.pauseProducing()
        await tab.shows("ann", "#connections-body")
        server.signal(15)
        await tab.shows("netchat is draining", "#state-text")
        ann.transport.abortConnection()
        await tab.shows("not answering", "#state-text")
        await server.ended()
        tab.errors.clear()  # the browser's own words about a server that does not answer

    async def test_workers_that_hang(self) -> None:
        """The page says which one is missing in its lists, and what is wrong if all are."""
        server = self.twistd("netecho", "--port", "0", "--workers", "2", "--admin", ADMIN)
        url = f"http://localhost:{await server.port(f'--admin {ADMIN}')}/"
        serves = re.compile(rb"Worker (\d) serves, pid (\d+)")
        await server.until(lambda: len(serves.findall(server.output)) == 2, "two workers")
        pids = {int(number): int(pid) for number, pid in serves.findall(server.output)}
        tab = await self.open(url, is_connected=False)
        await tab.shows("ready", "#state-text")
        for number, text in (1, "missing here: worker 1"), (2, "No worker answers."):
            os.kill(pids[number], signal.SIGSTOP)
            self.addCleanup(os.kill, pids[number], signal.SIGCONT)
            await tab.shows(text, "#problem")
        for number in pids:
            os.kill(pids[number], signal.SIGCONT)
        await tab.waits("document.getElementById('problem').hidden")
        tab.errors.clear()  # the browser's own words about the answers

    async def test_axe_finds_nothing(self) -> None:
        """Light and dark, wide and narrow, with each dialog; and nothing is wider than a phone."""
        source = axe_source()
        for scheme in ("light", "dark"):
            for size in (WIDE, PHONE):
                _, port, tab = await self.dashboard(size=size, scheme=scheme, bypass_csp=True)
                await self.person(port, "ann")
                await tab.shows("ann", "#connections-body")
                await tab.evaluate(source)
                self.assertEqual(await tab.evaluate(PHONE_OVERFLOW), 0)
                self.assertEqual(await tab.evaluate(AXE), [], f"{scheme} {size}")
                for dialog in ("tap", "sure"):
                    await tab.evaluate(f"document.getElementById('{dialog}').showModal()")
                    self.assertEqual(await tab.evaluate(AXE), [], f"{dialog} {scheme} {size}")
                    await tab.evaluate(f"document.getElementById('{dialog}').close()")
