"""Clients behind a real nginx, each with its own address.

Clients connect from several addresses of the loopback network, which all belong to this machine.
"""

from __future__ import annotations

from typing import Any

from tests.live.harness import Server
from tests.live.test_admin import ADMIN, CHANGE, AdminLiveCase
from tests.live.test_deployment import ANN, Browser, DeploymentTestCase

BOB, EVE = "127.0.0.3", "127.0.0.4"
HOME, OFFICE = "203.0.113.1", "2001:db8::1"
"""Addresses of clients that come through Ann, who is a proxy herself."""

KEPT = {  # nginx keeps its connections to netchat, and uses them for all clients
    "map $http_upgrade": "upstream netchat { server unix:SOCKET; keepalive 1; }\nmap $http_upgrade",
    "close;": "'';",
    "http://unix:SOCKET": "http://netchat",
}


def told(address: str) -> str:
    """Return the header with an address."""
    return f"X-Forwarded-For: {address}\r\n"


class ForwardedTests(DeploymentTestCase, AdminLiveCase):
    async def start(self, *flags: str, **changes: str) -> tuple[Server, int]:
        """Start netchat and nginx; return the port of nginx for HTTPS."""
        server = self.twistd(
            *("netchat", "--port=0", f"--web=unix:{self.web}:mode=666", "--admin", ADMIN),
            *("--trusted-proxy=unix", *flags),
        )
        await server.port()
        kept = {
            old.replace("SOCKET", str(self.web)): new.replace("SOCKET", str(self.web))
            for old, new in KEPT.items()
        }
        _, https = await self.nginx({**kept, **changes})
        return server, https

    async def page(self, port: int, address: str, status: bytes, fields: str = "") -> None:
        """Ask for the page from an address, and check the status."""
        browser = await self.come(port, Browser, self.tls, address)
        browser.ask(fields=fields)
        await browser.has(b"HTTP/1.1 " + status)
        await browser.has(b"</html>" if status == b"200" else b"\r\n\r\n")
        browser.transport.loseConnection()
        await browser.closed()

    async def member(self, port: int, nick: str, address: str, fields: str = "") -> Any:
        """Join the chat from an address."""
        browser = await self.come(port, Browser, self.tls, address)
        browser.upgrade(fields=fields)
        await browser.has(b"101 Switching Protocols")
        browser.say(f'{{"type":"hello","nick":"{nick}","room":"lobby"}}')
        return browser

    async def test_a_denied_address(self) -> None:
        """It is refused, whatever it says that it is; others on the same connection are not."""
        server, port = await self.start(f"--deny={BOB}")
        for fields in ("", told(EVE), f"Forwarded: for={EVE}\r\n"):
            await self.page(port, ANN, b"200", told(BOB))
            await self.page(port, BOB, b"403", fields)
            refused = await self.come(port, Browser, self.tls, BOB)
            refused.upgrade(fields=fields)
            await refused.has(b"\x03\xf0denied")  # 1008
            refused.transport.loseConnection()
            await refused.closed()
        ann = await self.member(port, "ann", ANN, told(BOB))
        await ann.has(b'"type":"joined"')
        await self.check_logged(server, ann, f"{ANN}:0")
        url = f"http://localhost:{await server.port(f'--admin {ADMIN}')}"
        accepted = await self.metric(url, r'connections_accepted_total\{listener="--web .*\}')
        self.assertLess(accepted, 10)  # so many requests there were
        self.assertEqual(server.log("Traceback|Unhandled"), [])

    async def test_a_ban(self) -> None:
        """A ban of one address leaves the others, whose requests take the same way."""
        server, port = await self.start(
            f"--trusted-proxy={ANN}", **{"$remote_addr": "$proxy_add_x_forwarded_for"}
        )
        home = await self.member(port, "home", ANN, told(HOME))
        office = await self.member(port, "office", ANN, told(OFFICE))
        forger = await self.member(port, "forger", BOB, told(HOME))
        for each in (home, office, forger):
            await each.has(b'"type":"joined"')
        url = f"http://localhost:{await server.port(f'--admin {ADMIN}')}"
        rows = await self.ask(f"{url}/connections?service=netchat&sort=id")
        found = {each["name"]: each["peer"] for each in rows["connections"]}
        peers = {"home": f"{HOME}:0", "office": f"[{OFFICE}]:0", "forger": f"{BOB}:0"}
        self.assertEqual(found, peers)
        body = ("-d", f'{{"target": "{HOME}", "minutes": 5, "text": "spam"}}')
        await self.ask(f"{url}/bans", *CHANGE, *body)
        await home.has(b"banned by the operator: spam")
        again = await self.member(port, "again", ANN, told(f"1.2.3.4, {HOME}"))
        await again.has(b'"code":"banned"')
        for each, other in ((office, forger), (forger, office)):
            each.say('{"type":"message","room":"lobby","text":"still here"}')
            await other.has(b"still here")
        await self.page(port, ANN, b"400", told("nonsense"))
        self.assertEqual(len(server.log("X-Forwarded-For is malformed: 'nonsense'")), 1)
        self.assertEqual(server.log("Traceback|Unhandled"), [])

    async def test_too_many(self) -> None:
        """Each client has its own maximum, and nginx none.

        Loopback addresses have no limits by address: so the clients come through Ann.
        """
        server, port = await self.start(
            *("--max-per-address=1", f"--trusted-proxy={ANN}"),
            **{"$remote_addr": "$proxy_add_x_forwarded_for"},
        )
        home = await self.member(port, "home", ANN, told(HOME))
        await home.has(b'"type":"joined"')
        second = await self.come(port, Browser, self.tls)
        second.upgrade(fields=told(HOME))
        await second.has(b"\x03\xf5too-many")  # 1013
        await self.page(port, ANN, b"503", told(HOME))
        await self.page(port, ANN, b"200", told(OFFICE))
        office = await self.member(port, "office", ANN, told(OFFICE))
        await office.has(b'"type":"joined"')
        await self.check_logged(server, home, f"{HOME}:0")
        home = await self.member(port, "home", ANN, told(HOME))
        await home.has(b'"type":"joined"')
