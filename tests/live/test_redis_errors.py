"""A Redis that cannot be used ends the start with one line; and one that can, by TLS and ACL."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import trustme

from tests.live.harness import LOCALHOST, LiveTestCase, program
from tests.live.redis_case import RedisCase
from tests.live.redis_server import RedisServer, free_port
from tests.live.test_tls import Certificates
from tests.store.store_contract import Heard, make_message
from twisted_net.store.interface import StoreError
from twisted_net.store.log import Bounds
from twisted_net.store.redis.location import parse_location
from twisted_net.store.redis.preflight import check_redis

HELLO = b"%1\r\n+proto\r\n:3\r\n"


class Scripted:
    """A server that answers whatever it is sent with the next of its answers.

    :param answers: None closes the connection.
    """

    def __init__(self, *answers: bytes | None) -> None:
        self._answers = answers
        self._listening = socket.create_server((LOCALHOST, 0))
        self.port = int(self._listening.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listening.accept()
        with connection:
            for answer in self._answers:
                if not connection.recv(65536) or answer is None:
                    return
                connection.sendall(answer)
            while connection.recv(65536):
                pass

    def stop(self) -> None:
        """Stop listening, and wait for the connection's end."""
        with socket.socket() as last:  # if nobody has connected
            last.connect_ex((LOCALHOST, self.port))
        self._listening.close()
        self._thread.join(30)


def info(**fields: object) -> bytes:
    """Return an answer to INFO."""
    known = {"redis_version": "7.0.15", "role": "master", "loading": "0", "cluster_enabled": "0"}
    text = "".join(f"{name}:{value}\r\n" for name, value in (known | fields).items())
    return b"$%d\r\n%b\r\n" % (len(text), text.encode())


class StartTests(RedisCase):
    """The check before the start."""

    def refused(self, url: str, says: str, **options: str) -> None:
        """Check that a store does not start, and what it says."""
        options = {"timeout": "5"} | options
        error = str(self.assertRaises(StoreError, check_redis, parse_location(url, options)))
        self.assertIn(says, error)
        self.assertNotIn("\n", error)
        self.assertNotIn("secret", error)

    def scripted(self, *answers: bytes | None) -> str:
        """Return the URL of a server that answers as told."""
        server = Scripted(*answers)
        self.addCleanup(server.stop)
        return f"redis://{LOCALHOST}:{server.port}"

    def test_nobody_is_there(self) -> None:
        """A closed port, an unknown host, and one that does not answer or closes."""
        port = free_port()
        self.refused(f"redis://{LOCALHOST}:{port}", f"{LOCALHOST}:{port}: Connection refused")
        self.refused("redis://no-such-host.invalid", "host not found")
        self.refused(self.scripted(), "no answer within 0.2 s", timeout="0.2")
        self.refused(self.scripted(None), "it closed the connection; perhaps it expects TLS")

    def test_logins(self) -> None:
        """A wrong password, an unknown user, a missing password, a missing permission."""
        ask, url, at = self.server.ask, self.server.url, f"{LOCALHOST}:{self.server.port}"
        self.refused(f"redis://ann:secret@{at}", "the password is wrong for the user 'ann'")
        ask("ACL", "SETUSER", "ann", "on", ">right", "~*", "&*", "+@all", "-info")
        self.refused(f"redis://ann:secret@{at}", "or there is no such user (WRONGPASS)")
        self.refused(f"redis://ann:right@{at}", "lacks a permission (NOPERM")
        ask("CONFIG", "SET", "requirepass", "right")
        self.refused(url, "a password is required; write user:password@ or :password@ (NOAUTH)")
        self.refused(f"redis://:secret@{at}", "the password is wrong for the default user")
        check_redis(parse_location(f"redis://:right@{at}", {}))

    def test_databases(self) -> None:
        """A database that does not exist."""
        self.refused(f"{self.server.url}/99", "there is no database 99 (")
        check_redis(parse_location(f"{self.server.url}/15", {}))

    def test_servers_that_are_not_for_us(self) -> None:
        """A cluster, a replica, an old version, one that is loading, and something else."""
        cluster = self.serve("cluster-enabled yes", f"cluster-port {free_port()}")
        self.refused(cluster.url, "Redis Cluster is not supported")
        replica = self.serve(f"replicaof {LOCALHOST} {self.server.port}")
        self.refused(replica.url, "Redis is a replica, which cannot be written to (READONLY)")
        for version in ("6.0.16", "5.0", "", "x"):
            url = self.scripted(HELLO, info(redis_version=version))
            self.refused(url, "is too old; 6.2 or later is needed")
        self.refused(
            self.scripted(b"-ERR unknown command `HELLO`, with args\r\n"), "the version is too old"
        )
        self.refused(self.scripted(HELLO, info(loading=1)), "Redis is loading its data (LOADING)")
        self.refused(self.scripted(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "this is not Redis")
        self.refused(self.scripted(HELLO, b"+\r\n"), "version ? is too old")
        check_redis(parse_location(self.scripted(HELLO, info(redis_version="7.2.4")), {}))

    def test_tls(self) -> None:
        """TLS to a server without, plain text to one with it, and certificates of others."""
        server, certificates = self.tls_server()
        url, ca = f"rediss://{LOCALHOST}:{server.tls_port}", certificates.ca
        plain = f"rediss://{LOCALHOST}:{self.server.port}"
        self.refused(plain, "perhaps Redis does not speak TLS", timeout="0.5")
        self.refused(url.replace("rediss", "redis"), "perhaps it expects TLS")
        self.refused(url, "the certificate cannot be verified: ")
        self.refused(url, "cafile=/no/file: No such file", cafile="/no/file")
        self.refused(url, "this is no PEM file with certificates", cafile=__file__)
        other = str(Path(self.mktemp()).absolute())
        trustme.CA().cert_pem.write_to_path(other)
        self.refused(url, "the certificate cannot be verified: ", cafile=other)
        check_redis(parse_location(url, {"cafile": ca}))

    def tls_server(self) -> tuple[RedisServer, Certificates]:
        """Start a Redis with a TLS port."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        certificates = Certificates(directory)
        port = free_port()
        server = self.serve(
            *(f"tls-port {port}", "tls-auth-clients no", f'tls-cert-file "{certificates.cert}"'),
            f'tls-key-file "{certificates.key}"',
        )
        server.tls_port = port
        return server, certificates

    def test_a_store_by_tls_and_acl(self) -> None:
        """A store works over TLS, as a user who may use the store's keys and nothing else."""
        server, certificates = self.tls_server()
        server.ask(
            *("ACL", "SETUSER", "chat", "on", ">p@ss", "~{netchat*", "&{netchat*"),
            *("+@read", "+@write", "+@pubsub", "+@scripting", "+@connection"),
            *("-@dangerous", "+client|info", "+info", "+time", "+wait"),
        )
        url = f"rediss://chat:p%40ss@{LOCALHOST}:{server.tls_port}/3"
        store = self.begun(self.make(Bounds(), url, cafile=certificates.ca))
        heard = Heard()
        self.value(store.subscribe("a", heard))
        self.value(store.append("a", [make_message("x")]))
        self.assertEqual(heard.offsets, [1])
        self.assertIsNone(self.value(store.lease("name", ["a"], "x")))
        self.assertEqual(self.value(store.notify("chat", b"x")), 0)
        self.value(store.put("ban", "key", "value"))
        self.assertIn(f"name=netchat-{store.process} ".encode(), server.ask("CLIENT", "LIST"))


class ServiceTests(LiveTestCase):
    """``netchat`` itself."""

    async def test_one_line(self) -> None:
        """A Redis that cannot be used ends the service with one line, without the password."""
        port = free_port()
        url = f"redis://u:secret@{LOCALHOST}:{port}"
        flags = ("netchat", "--port", "0", "--store", url)
        server = self.twistd(*flags, without=("PYTHONWARNINGS",))
        self.assertIn(await server.ended(), (1, 2))
        shown = f"netchat: --store redis://u:***@{LOCALHOST}:{port}: {LOCALHOST}:{port}: "
        lines = server.errors.decode().splitlines()
        self.assertEqual(lines, [f"{shown}Connection refused"])
        self.assertNotIn(b"secret", server.output)
        self.assertNotIn(b"Traceback", server.output)

    async def test_readiness(self) -> None:
        """While Redis is away, ``/readyz`` says so; it is ready again when Redis is back."""
        redis = RedisServer(self.directory())
        self.addCleanup(redis.kill)
        flags = (
            "--interface",
            LOCALHOST,
            "--store",
            redis.url,
            "--admin",
            "tcp:0:interface=127.0.0.1",
        )
        server = self.twistd("netchat", "--port", "0", *flags)
        await server.port()
        admin = await server.port("--admin tcp:0:interface=127.0.0.1")
        await self.until_ready(admin, 200, b"ready")
        redis.kill()
        await self.until_ready(admin, 503, b"netchat: Redis at 127.0.0.1:")
        redis.start()
        await self.until_ready(admin, 200, b"ready")

    async def until_ready(self, port: int, status: int, says: bytes) -> None:
        """Ask until the answer is as expected."""
        url = f"http://{LOCALHOST}:{port}/readyz"
        command = f"until curl -s -w '%{{http_code}}' {url} | grep -z '{says.decode()}.*{status}'"
        asking = self.spawn(program("bash"), "-c", f"{command}; do sleep 0.1; done")
        self.assertEqual(await asking.ended(), 0)

    async def test_it_runs(self) -> None:
        """Two services on one Redis hear each other."""
        directory = self.directory()
        redis = RedisServer(directory)
        self.addCleanup(redis.kill)
        flags = ("--interface", LOCALHOST, "--store", redis.url)
        ports = [await self.twistd("netchat", "--port", "0", *flags).port() for _ in range(2)]
        ann, bob = [self.nc(port) for port in ports]
        for user, name in ((ann, "ann"), (bob, "bob")):
            user.write(f"/nick {name}\n/join #r\n".encode())
            await user.expect(b"#r")
        ann.write(b"hello from afar\n")
        await bob.expect(b"ann.*hello from afar")
