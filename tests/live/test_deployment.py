"""The files in ``docs/deployment`` with the real programs: HAProxy, nginx and systemd's tools."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trustme
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory
from twisted.internet.ssl import Certificate, optionsForClientTLS
from twisted.internet.threads import deferToThread
from websockets.frames import Frame, Opcode

from tests.dockerfile import (
    DEPLOYMENT,
    build_context,
    container_command,
    health_check,
    parse_dockerfile,
)
from tests.live.harness import (
    LOCALHOST,
    PATIENCE,
    Client,
    LiveTestCase,
    Program,
    Server,
    program,
    script,
)

CHECKOUT = DEPLOYMENT.parent.parent
DOCKERFILE = (DEPLOYMENT / "Dockerfile").read_text()
STORE = "sqlite:/var/lib/netchat/chat.db"

ANN = "127.0.0.2"
HOST = "chat.example"
WELCOME = b"/help lists commands.\n"
UPGRADE = (
    "GET /ws HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: netchat.v1\r\n{fields}\r\n"
)


def file_with(name: str, replacements: Mapping[str, str]) -> str:
    """Return the text of a file with other ports and paths; each must occur."""
    text = (DEPLOYMENT / name).read_text()
    for old, new in replacements.items():
        text, count = re.subn(rf"{re.escape(old)}(?![\w.])", new, text)
        assert count, f"{name} has no {old}"
    return text


class Browser(Client):
    """A connection that speaks HTTP, and then WebSocket."""

    def ask(self, path: str = "/", host: str = HOST, fields: str = "") -> None:
        """Ask for a page."""
        self.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n".encode())

    def upgrade(self, origin: str = f"https://{HOST}", host: str = HOST, fields: str = "") -> None:
        """Ask for a WebSocket."""
        self.send(UPGRADE.format(host=host, origin=origin, fields=fields).encode())

    def say(self, text: str) -> None:
        """Send a text frame."""
        self.send(Frame(Opcode.TEXT, text.encode()).serialize(mask=True))


class DeploymentTestCase(LiveTestCase):
    """A test with a certificate for the name of the chat."""

    def setUp(self) -> None:
        self.place = self.directory()
        authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        issued = authority.issue_cert(HOST, key_type=trustme.KeyType.ECDSA)
        issued.private_key_and_cert_chain_pem.write_to_path(str(self.place / "both.pem"))
        root: Any = Certificate.loadPEM(authority.cert_pem.bytes())
        self.tls: Any = optionsForClientTLS(HOST, root)
        # Below trial's own directory, the path may be too long for a socket's (unix(7)).
        self.web = Path(f"/tmp/netchat-{os.getpid()}-{id(self):x}.sock")
        self.addCleanup(self.web.unlink, missing_ok=True)

    def listening(self) -> socket.socket:
        """Return a socket that a proxy will inherit: no other program can take its port."""
        made = socket.create_server((LOCALHOST, 0), backlog=100)
        made.setblocking(False)  # nginx relies on it
        self.addCleanup(made.close)
        return made

    def inheriting(
        self, command: tuple[str, ...], sockets: list[socket.socket], **environment: str
    ) -> list[int]:
        """Start a proxy with listening sockets from descriptor 3 on; return their ports."""
        from twisted.internet import reactor

        running = Program(Path(command[0]).name)
        reactor.spawnProcess(  # type: ignore[attr-defined]  # it is a module to mypy
            running,
            command[0],
            command,
            env={**os.environ, **environment},
            path=str(self.place),
            childFDs={0: "w", 1: "r", 2: "r"}
            | {number: each.fileno() for number, each in enumerate(sockets, 3)},
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(running.stop()))
        return [int(each.getsockname()[1]) for each in sockets]

    async def come(self, port: int, kind: type[Client], tls: Any = None, address: str = ANN) -> Any:
        """Connect from Ann's address, or another, over TLS if there are options for it."""
        from twisted.internet import reactor

        endpoint: Any = TCP4ClientEndpoint(
            reactor, LOCALHOST, port, timeout=PATIENCE, bindAddress=(address, 0)
        )
        if tls is not None:
            endpoint = wrapClientTLS(tls, endpoint)
        client: Any = await endpoint.connect(Factory.forProtocol(kind))  # type: ignore[arg-type]
        self.addCleanup(lambda: self._disconnect(client) if client.lost is None else None)
        return client

    async def check_browsers(self, secure: int, plain: int) -> Browser:
        """Get the page, redirections and refusals, and talk over a WebSocket.

        :return: the member.
        """
        page = await self.come(secure, Browser, self.tls)
        page.ask()
        await page.has(b"</html>")
        self.assertIn(b"200 OK", page.received)
        self.assertIn(b"content-security-policy: default-src 'none'", page.received.lower())
        page.ask("/main.js")
        await page.has(b"import ")
        redirected = await self.come(plain, Browser)
        redirected.ask("/x")
        await redirected.has(f"ocation: https://{HOST}/x\r\n".encode())
        stranger = await self.come(secure, Browser, self.tls)
        stranger.upgrade(origin="https://evil.example")
        await stranger.has(b"403 Forbidden")
        page.upgrade()  # on the connection that has been used before
        await page.has(b"101 Switching Protocols")
        page.say('{"type":"hello","nick":"web","room":"lobby"}')
        await page.has(b'"type":"joined"')
        page.say('{"type":"message","room":"lobby","text":"from a page"}')
        return page  # type: ignore[no-any-return]

    async def check_logged(self, server: Server, client: Client, where: str) -> None:
        """Leave, and wait for the line in the log, with the client's own address."""
        client.transport.loseConnection()  # type: ignore[union-attr]
        await server.until(
            lambda: server.log(rf"Connection \d+ from {re.escape(where)} ended"),
            f"the end of {where}",
        )

    async def nginx(self, replacements: Mapping[str, str] | None = None) -> tuple[int, int]:
        """Start nginx with its file, in which more may be changed; return its ports."""
        path = program("nginx")
        sockets = [self.listening() for _ in range(2)]
        http, https = (each.getsockname()[1] for each in sockets)
        live = f"/etc/letsencrypt/live/{HOST}"
        both = str(self.place / "both.pem")
        site = file_with(
            "nginx-site.conf",
            {
                "listen 80": f"listen {LOCALHOST}:{http}",
                "listen 443": f"listen {LOCALHOST}:{https}",
                f"{live}/fullchain.pem": both,
                f"{live}/privkey.pem": both,
                "unix:/run/netchat/web.sock": f"unix:{self.web}",
                **(replacements or {}),
            },
        )
        temporary = "".join(
            f"{name}_temp_path {self.place}/{name};\n"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (self.place / "nginx.conf").write_text(
            f"daemon off; user root; pid {self.place}/pid; error_log stderr;\n"
            f"events {{}}\nhttp {{ access_log off;\n{temporary}{site}}}\n"
        )
        command = (path, "-e", "stderr", "-p", str(self.place), "-c", "nginx.conf")
        self.inheriting(command, sockets, NGINX="3;4;")
        return http, https


class HAProxyTests(DeploymentTestCase):
    """``haproxy.cfg``."""

    async def start(self) -> tuple[Server, list[int]]:
        """Start netchat and HAProxy; return the ports for plain TCP, TLS, HTTP and HTTPS."""
        path = program("haproxy")
        server = self.twistd(
            *("netchat", "--port=0", "--tls-port=0", f"--tls-dir={self.place}", "--no-web"),
            *(f"--interface={LOCALHOST}", f"--web=unix:{self.web}:mode=666"),
            *("--proxy-protocol=127.0.0.1/32", "--trusted-proxy=unix"),
        )
        port, tls_port = await server.port(), await server.port("--tls-port 0")
        text = file_with(
            "haproxy.cfg",
            {
                "bind :8080": "bind fd@3",
                "bind :8443": "bind fd@4",
                "bind :80": "bind fd@5",
                "bind :443": "bind fd@6",
                "127.0.0.1:8081": f"127.0.0.1:{port}",
                "127.0.0.1:8444": f"127.0.0.1:{tls_port}",
                "/etc/haproxy/chat.pem": str(self.place / "both.pem"),
                "unix@/run/netchat/web.sock": f"unix@{self.web}",
                "maxconn 50000": "maxconn 500",
            },
        )
        (self.place / "haproxy.cfg").write_text(text)
        sockets = [self.listening() for _ in range(4)]
        return server, self.inheriting((path, "-db", "-f", "haproxy.cfg"), sockets)

    async def test_all_four_ports(self) -> None:
        """A browser, nc and a TLS client meet in a room; the log has the client's own address."""
        server, (port, tls_port, http, https) = await self.start()
        plain = await self.come(port, Client)
        encrypted = await self.come(tls_port, Client, self.tls)
        for each in (plain, encrypted):
            await each.has(WELCOME)
        member = await self.check_browsers(https, http)
        for each in (plain, encrypted):
            await each.has(b"<web> from a page\n")
        plain.send(b"from nc\n")
        encrypted.send(b"from TLS\n")  # the end of a client that never says a word is not logged
        for text in (b"from nc", b"from TLS"):
            await member.has(text)
        # HTTP does not tell the port of a client.
        for each, where in ((plain, ""), (encrypted, ""), (member, f"{ANN}:0")):
            self.assertTrue(each.address.startswith(f"{ANN}:"))
            await self.check_logged(server, each, where or each.address)
        self.assertEqual(server.log("Traceback|Unhandled|without a PROXY"), [])

    async def test_its_own_check(self) -> None:
        """HAProxy warns of nothing in the file."""
        text = file_with("haproxy.cfg", {"/etc/haproxy/chat.pem": str(self.place / "both.pem")})
        (self.place / "check.cfg").write_text(text)
        checked = await deferToThread(
            subprocess.run,
            [program("haproxy"), "-c", "-f", str(self.place / "check.cfg")],
            capture_output=True,
            text=True,
        )
        self.assertEqual(checked.returncode, 0, checked.stderr)
        self.assertNotIn("WARNING", checked.stderr)


class NginxTests(DeploymentTestCase):
    """``nginx-site.conf``."""

    async def test_browsers(self) -> None:
        """The page and its WebSocket come through nginx, over TLS."""
        server = self.twistd(
            *("netchat", "--port=0", f"--web=unix:{self.web}:mode=666", "--trusted-proxy=unix")
        )
        port = await server.port()
        http, https = await self.nginx()
        plain = await self.connect(port)
        await plain.has(WELCOME)
        member = await self.check_browsers(https, http)
        await plain.has(b"<web> from a page\n")
        plain.send(b"from nc\n")
        await member.has(b"from nc")
        await self.check_logged(server, member, f"{ANN}:0")
        self.assertEqual(server.log("Traceback|Unhandled"), [])


class ContainerTests(LiveTestCase):
    """``Dockerfile`` and ``compose.yaml``, without an engine."""

    async def run_step(self, *command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a program, which may be a Python program with warnings of its own."""
        own = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
        return await deferToThread(
            subprocess.run, command, cwd=cwd, capture_output=True, text=True, env=own
        )

    async def test_compose(self) -> None:
        """``docker-compose`` accepts every key and value."""
        checked = await self.run_step(
            *(program("docker-compose"), "--file", "compose.yaml", "config", "--quiet"),
            cwd=DEPLOYMENT,
        )
        self.assertEqual((checked.returncode, checked.stderr), (0, ""))

    async def test_the_image(self) -> None:
        """Its steps, done by hand: what is sent to the engine is enough to build and to run."""
        place = self.directory()
        for name in build_context():
            found = CHECKOUT / name
            if found.is_dir():
                without = shutil.ignore_patterns("__pycache__", "dropin.cache")
                shutil.copytree(found, place / name, ignore=without)
            else:
                shutil.copy(found, place)
        step = next(each.text for each in parse_dockerfile(DOCKERFILE) if each.name == "RUN")
        environment, python = place / "opt", sys.executable
        step = step.replace("/opt/twisted_net", str(environment)).replace(
            "python -m", f"{python} -m"
        )
        built = await self.run_step("sh", "-c", step.replace("--no-cache-dir", "-q"), cwd=place)
        self.assertEqual(built.returncode, 0, built.stdout + built.stderr)
        self.assertTrue(list(environment.glob("lib/*/site-packages/twisted/plugins/dropin.cache")))
        words = container_command()
        shared = {"--port=8080": "--port=0", f"--store={STORE}": f"--store=sqlite:{place}/chat.db"}
        self.assertLessEqual(shared.keys(), set(words))
        command = [shared.get(each, each) for each in words]
        program_path = str(environment / "bin" / command[0])
        server = self.spawn(program_path, *command[1:], kind=Server)
        port = await server.port()
        check = [each.replace("8080", str(port)) for each in health_check()]
        check[0] = python
        healthy = await self.run_step(*check, cwd=place)
        self.assertEqual((healthy.returncode, healthy.stdout, healthy.stderr), (0, "", ""))
        await server.stop()
        self.assertEqual(server.log("Traceback|Unhandled|plugin cache|GET /"), [])
        ill = await self.run_step(*check, cwd=place)
        self.assertEqual(ill.returncode, 1)
        self.assertTrue((place / "chat.db").exists())


class ScalingTests(LiveTestCase):
    """The balancer of ``docs/scaling.rst``."""

    async def test_haproxy(self) -> None:
        """HAProxy understands every line."""
        text = (DEPLOYMENT.parent / "scaling.rst").read_text()
        (block,) = re.findall(r"^\*\*HAProxy\*\*.*::\n\n((?:    .*\n|\n)+)", text, re.MULTILINE)
        path = self.directory() / "haproxy.cfg"
        path.write_text(textwrap.dedent(block))
        done = await deferToThread(
            subprocess.run,
            [program("haproxy"), "-c", "-f", str(path)],
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertNotIn("WARNING", done.stdout + done.stderr)


class KubernetesTests(LiveTestCase):
    """``kubernetes.yaml``, without a cluster."""

    async def kubectl(self, *words: str, given: str = "") -> list[Any]:
        """Return the objects that ``kubectl`` writes. It changes only what it has read."""
        done = await deferToThread(
            subprocess.run,
            [program("kubectl"), *words, "--local", "--output=json"],
            cwd=DEPLOYMENT,
            input=given,
            capture_output=True,
            text=True,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        objects, decoder, rest = [], json.JSONDecoder(), done.stdout.strip()
        while rest:
            found, end = decoder.raw_decode(rest)
            objects.append(found)
            rest = rest[end:].strip()
        return objects

    def assertWithin(self, part: Any, whole: Any, where: str = "") -> None:
        """Assert that nothing of ``part`` is missing in ``whole``, or different."""
        if isinstance(part, dict):
            for name, value in part.items():
                self.assertIn(name, whole, where)
                self.assertWithin(value, whole[name], f"{where}.{name}")
        elif isinstance(part, list):
            self.assertEqual(len(part), len(whole), where)
            for number, (each, other) in enumerate(zip(part, whole, strict=True)):
                self.assertWithin(each, other, f"{where}[{number}]")
        else:
            self.assertEqual(part, whole, where)

    async def test_it_is_understood(self) -> None:
        """Every object is read, and no field of the pods is unknown, and so dropped."""
        objects = await self.kubectl("label", "--filename=kubernetes.yaml", "read=yes")
        self.assertEqual(
            [each["kind"] for each in objects],
            ["ConfigMap", "Deployment", "Service", "PodDisruptionBudget"],
        )
        (pods,) = (each for each in objects if each["kind"] == "Deployment")
        words = ("set", "image", "--filename=-", "netchat=other:1")
        (typed,) = await self.kubectl(*words, given=json.dumps(pods))
        typed["spec"]["template"]["spec"]["containers"][0]["image"] = (
            "registry.example/netchat:0.1.0"
        )
        self.assertWithin(pods, typed)
        for each in objects[2:]:
            selector = each["spec"]["selector"]
            labels = pods["spec"]["template"]["metadata"]["labels"]
            self.assertIn(labels, (selector, selector.get("matchLabels")))


class SystemdTests(LiveTestCase):
    """``netchat.service`` and ``netchat.socket``, without a running systemd."""

    async def analyze(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``systemd-analyze`` on the units, with this environment's twistd."""
        path, place = program("systemd-analyze"), self.directory()
        for name in ("netchat.service", "netchat.socket"):
            text = (DEPLOYMENT / name).read_text()
            text = text.replace("/opt/twisted_net/bin/twistd", script("twistd"))
            (place / name).write_text(text)
        return await deferToThread(
            subprocess.run,
            [path, *arguments],
            cwd=place,
            capture_output=True,
            text=True,
            env={**os.environ, "SYSTEMD_UNIT_PATH": f"{place}:"},
        )

    async def test_verify(self) -> None:
        """systemd understands every line."""
        done = await self.analyze("verify", "--man=no", "./netchat.service", "./netchat.socket")
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    async def test_security(self) -> None:
        """systemd's own score of what the service may do is 1.3 of 10."""
        done = await self.analyze(
            *("security", "--offline=true", "--no-pager", "--threshold=13"), "./netchat.service"
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("exposure level", done.stdout)
