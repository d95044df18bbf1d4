"""Tests for :mod:`twisted_net.endpoints.client`."""

from __future__ import annotations

import errno
import os
from typing import Any

import trustme
from OpenSSL import SSL
from twisted.application.internet import ClientService
from twisted.internet import error
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, TimeoutError
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import (
    IHostnameResolver,
    IHostResolution,
    IReactorPluggableNameResolver,
)
from twisted.internet.ssl import Certificate, CertificateOptions, PrivateCertificate
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, IOPump
from twisted.test.iosim import connect as pumped
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.connection.recording import Recorder
from twisted_net.chat.client.client import ChatClient
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.echo import EchoFactory
from twisted_net.endpoints.client import (
    ConnectFailed,
    ReconnectingClient,
    client_endpoint,
    connect,
)
from twisted_net.idle import DiscardFactory
from twisted_net.policy.backoff import Backoff
from twisted_net.policy.close_reasons import CloseReason
from twisted_net.testing import advance


@implementer(IHostResolution)
class Resolution:
    """The lookup of a name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """Do nothing: the lookup is over."""


@implementer(IHostnameResolver)
class Names:
    """Resolves every name except those that end in ``.invalid``."""

    def resolveHostName(
        self, receiver: Any, hostName: str, portNumber: int = 0, *rest: Any, **more: Any
    ) -> Any:
        receiver.resolutionBegan(Resolution(hostName))
        if not hostName.endswith(".invalid"):
            receiver.addressResolved(IPv4Address("TCP", "192.0.2.7", portNumber))
        receiver.resolutionComplete()


@implementer(IHostnameResolver)
class Silent:
    """Does not answer."""

    def resolveHostName(self, receiver: Any, hostName: str, *rest: Any, **more: Any) -> Any:
        receiver.resolutionBegan(Resolution(hostName))


@implementer(IHostnameResolver)
class Several:
    """Knows two addresses for every name."""

    def resolveHostName(
        self, receiver: Any, hostName: str, portNumber: int = 0, *rest: Any, **more: Any
    ) -> Any:
        receiver.resolutionBegan(Resolution(hostName))
        receiver.addressResolved(IPv4Address("TCP", "192.0.2.7", portNumber))
        receiver.addressResolved(IPv6Address("TCP", "2001:db8::7", portNumber))
        receiver.resolutionComplete()


@implementer(IReactorPluggableNameResolver)
class Reactor(MemoryReactorClock):  # type: ignore[misc]  # zope's interfaces
    """Twisted's in-memory reactor, with name resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.nameResolver = Names()


class Client(Recorder):
    """Records the code of its close reason."""

    def disconnected(self, reason: CloseReason) -> None:
        self.events.append(reason.code)


class ClientCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()

    def accept(self, number: int = -1, server: Any = None) -> IOPump:
        """Accept an attempt to connect, with an echo server by default."""
        _, _, factory, _, _ = self.reactor.tcpClients[number]
        client = factory.buildProtocol(None)
        server = server or EchoFactory(clock=self.reactor).buildProtocol(None)
        here = FakeTransport(client, isServer=False)
        there = FakeTransport(server, isServer=True)
        return pumped(server, there, client, here)

    def refuse(self, reason: Exception, number: int = -1) -> None:
        """Fail an attempt to connect."""
        _, _, factory, _, _ = self.reactor.tcpClients[number]
        factory.clientConnectionFailed(None, Failure(reason))
        self.reactor.advance(0)

    def assertFailure(self, attempt: Any, code: str, address: str, port: int) -> ConnectFailed:
        """Check that it failed with this code, and names what was tried."""
        self.reactor.advance(0.5)  # a name may have further addresses
        failure = self.failureResultOf(attempt, ConnectFailed).value
        self.assertEqual((failure.code, failure.address, failure.port), (code, address, port))
        self.assertTrue(str(failure).startswith(f"{code}: {address}"), str(failure))
        self.assertNotIn("\n", str(failure))
        return failure


class ConnectTests(ClientCase):
    def test_each_way_to_say_where(self) -> None:
        """Strings, pairs, endpoints, classes and factories work. The result is the connection."""
        endpoint = TCP4ClientEndpoint(self.reactor, "192.0.2.7", 7000)
        factory = ConnectionFactory.forProtocol(Client, clock=self.reactor)
        for where in ("tcp:chat.example:7000", ("chat.example", 7000), endpoint):
            for protocol in (Client, factory):
                attempt = connect(self.reactor, where, protocol)
                self.assertNoResult(attempt)
                pump = self.accept()
                connection = self.successResultOf(attempt)
                self.assertEqual(self.reactor.tcpClients[-1][1], 7000)
                connection.send("hello")
                pump.flush()
                self.assertEqual(connection.events, ["connected", b"hello"])
                connection.close()
                pump.flush()
                self.assertEqual(connection.events[2:], ["closed"])
        self.assertEqual(len(factory), 0)

    def test_ports_that_are_none(self) -> None:
        """Invalid ports are rejected before anything is tried."""
        for port in (0, -1, 65536, 1.5, 7000.0, True, None, "7000", "http", ""):
            for how in ({}, {"tls": True}):
                with self.assertRaisesRegex(ValueError, "port .*: must be a whole number from 1"):
                    connect(self.reactor, ("chat.example", port), Client, **how)  # type: ignore
            if isinstance(port, str | int) and port != "7000" and port is not True:
                for form in ("tcp:a:{}", "tls:a:{}", "tcp:host=a:port={}", "tcp:port={}:host=a"):
                    with self.assertRaisesRegex(ValueError, "port .*: must be a whole number"):
                        client_endpoint(self.reactor, form.format(port))
        self.assertEqual(self.reactor.tcpClients, [])

    def test_what_is_no_endpoint(self) -> None:
        """What cannot be an endpoint is refused at once, and the error says what to write."""
        for where, advice in (
            ("chat.example:7000", "'tcp:chat.example:7000' or ('chat.example', 7000)"),
            ("7000", "'tcp:HOST:7000' or ('HOST', 7000)"),
            ("chat.example", "'tcp:chat.example:PORT' or ('chat.example', PORT)"),
            ("[::1]:7000", r"('::1', 7000)"),
            ("carrier-pigeon:chat.example", "'tcp:HOST:PORT' or ('HOST', PORT)"),
            ("tcp:chat.example", "'tcp:HOST:PORT' or ('HOST', PORT)"),
            ("tcp:a:1:2:3:4:5:6", "'tcp:HOST:PORT' or ('HOST', PORT)"),
            (("chat.example",), "'tcp:HOST:PORT' or ('HOST', PORT)"),
            (("chat.example", 1, 2), "'tcp:HOST:PORT' or ('HOST', PORT)"),
            ((None, 7000), "'tcp:HOST:PORT' or ('HOST', PORT)"),
            (["chat.example", 7000], "'tcp:HOST:PORT' or ('HOST', PORT)"),
            (7000, "'tcp:HOST:PORT' or ('HOST', PORT)"),
            (("chat.example", "7000"), "write ('chat.example', 7000)"),
        ):
            for call in (
                lambda where=where: connect(self.reactor, where, Client),
                lambda where=where: ReconnectingClient(self.reactor, where, Client),
            ):
                with self.assertRaises(ValueError) as caught:
                    call()
                self.assertIn(advice, str(caught.exception))
                self.assertNotIn("\n", str(caught.exception))

    def test_the_timeout(self) -> None:
        """The timeout is ten seconds by default."""
        for how, seconds in (({}, 10), ({"timeout": 3}, 3)):
            attempt = connect(self.reactor, ("chat.example", 7000), Client, **how)
            self.assertEqual(self.reactor.tcpClients[-1][3], seconds)
            self.refuse(error.TimeoutError())
            self.assertFailure(attempt, "ETIMEDOUT", "chat.example", 7000)

    def test_what_can_go_wrong(self) -> None:
        """Each error has the name of its errno, the address and the port."""
        for reason, code in (
            (error.ConnectionRefusedError(osError=111), "ECONNREFUSED"),
            (error.NoRouteError(osError=113), "EHOSTUNREACH"),
            (error.TCPTimedOutError(osError=110), "ETIMEDOUT"),
            (error.ConnectError(osError=101), "ENETUNREACH"),
            (error.ConnectError(string="odd"), "EFAILED"),
            (RuntimeError("odd\nand long"), "EFAILED"),
        ):
            for where in ("tcp:192.0.2.7:7000", ("192.0.2.7", 7000)):
                attempt = connect(self.reactor, where, Client)
                self.refuse(reason)
                self.assertFailure(attempt, code, "192.0.2.7", 7000)

    def test_a_name_that_there_is_not(self) -> None:
        """An unknown name is ENOTFOUND, as in Node."""
        attempt = connect(self.reactor, ("nowhere.invalid", 7000), Client)
        self.assertFailure(attempt, "ENOTFOUND", "nowhere.invalid", 7000)
        attempt = connect(self.reactor, "tcp:nowhere.invalid:7000", Client)
        self.refuse(error.DNSLookupError())
        self.assertFailure(attempt, "ENOTFOUND", "nowhere.invalid", 7000)

    def test_however_a_string_is_written(self) -> None:
        """Address and port are found in every form of string; a path is an address."""
        for where, address, port in (
            ("tcp:host=chat.example:port=7000", "chat.example", 7000),
            ("tcp:chat.example:port=7000:timeout=5", "chat.example", 7000),
            (r"tcp:\:\:1:7000", "::1", 7000),
            ("unix:/run/chat", "/run/chat", 0),
            ("unix:path=/run/chat", "/run/chat", 0),
        ):
            attempt = connect(self.reactor, where, Client)
            factory = (self.reactor.unixClients or self.reactor.tcpClients)[-1][-3]
            reason = error.ConnectionRefusedError(osError=111)
            factory.clientConnectionFailed(None, Failure(reason))
            self.assertFailure(attempt, "ECONNREFUSED", address, port)

    def test_closed_at_once(self) -> None:
        """A connection that is closed at once is not a failure to connect."""
        attempt = connect(self.reactor, ("chat.example", 7000), Client)
        pump = self.accept()
        connection = self.successResultOf(attempt)
        pump.serverIO.loseConnection()
        pump.flush()
        self.assertEqual(connection.events, ["connected", "peer-closed"])

    def test_giving_up(self) -> None:
        """A cancelled attempt leaves nothing behind."""
        attempt = connect(self.reactor, ("chat.example", 7000), Client)
        attempt.cancel()
        self.failureResultOf(attempt)
        self.reactor.advance(0.1)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_cancelling_is_no_failure_of_the_server(self) -> None:
        """Cancelling raises CancelledError, so that ``addTimeout`` works as usual."""
        attempt = connect(self.reactor, ("chat.example", 7000), Client)
        attempt.addTimeout(3, self.reactor)
        self.reactor.advance(3)
        self.failureResultOf(attempt, TimeoutError)

    def test_cancelling_during_the_lookup(self) -> None:
        """A lookup that was cancelled has not failed."""
        self.reactor.nameResolver = Silent()
        for host in ("chat.example", "192.0.2.7"):
            attempt = connect(self.reactor, (host, 7000), Client)
            attempt.cancel()
            self.failureResultOf(attempt, CancelledError)
            attempt = connect(self.reactor, (host, 7000), Client)
            attempt.addTimeout(3, self.reactor)
            self.reactor.advance(3)
            self.failureResultOf(attempt, TimeoutError)

    def test_what_the_system_says(self) -> None:
        """An error of the system is told once, in its words; a local one says that it is local."""
        for reason, said in (
            (error.ConnectionRefusedError(osError=111, string="refused"), os.strerror(111)),
            (error.ConnectBindError(osError=98, string="in use"), "Couldn't bind: 98: in use."),
        ):
            attempt = connect(self.reactor, "tcp:192.0.2.7:7000", Client)
            self.refuse(reason)
            failure = self.failureResultOf(attempt, ConnectFailed)
            code = errno.errorcode[reason.osError]
            self.assertEqual(str(failure.value), f"{code}: 192.0.2.7:7000: {said}")

    def test_several_addresses(self) -> None:
        """If a host has several addresses, the error tells how each of them failed."""
        self.reactor.nameResolver = Several()
        attempt = connect(self.reactor, ("chat.example", 7000), Client)
        self.reactor.advance(0.5)
        self.refuse(error.TCPTimedOutError(osError=110), 0)
        self.refuse(error.ConnectionRefusedError(osError=111), 1)
        failure = self.assertFailure(attempt, "ECONNREFUSED", "chat.example", 7000)
        self.assertRegex(str(failure), r"192\.0\.2\.7: no answer in time; 2001:db8::7: .*refused")
        one = connect(self.reactor, "tcp:192.0.2.7:7000", Client)
        self.refuse(error.TCPTimedOutError(osError=110))
        failure = self.assertFailure(one, "ETIMEDOUT", "192.0.2.7", 7000)
        self.assertEqual(str(failure), "ETIMEDOUT: 192.0.2.7:7000: no answer in time")


class TLSCase(ClientCase):
    """With real certificates, in memory."""

    def setUp(self) -> None:
        super().setUp()
        self.authority = trustme.CA()

    def attempt(self, where: Any = ("chat.example", 7000), trust: Any = None, **how: Any) -> Any:
        """Connect with trust in the test's authority."""
        trust = trust or Certificate.loadPEM(self.authority.cert_pem.bytes())
        self.connections: list[Client] = []

        class Named(Client):
            def __init__(kept) -> None:
                super().__init__()
                self.connections.append(kept)

        return connect(self.reactor, where, Named, tls=True, trust=trust, **how)

    def serve(self, name: str = "chat.example", **how: Any) -> IOPump:
        """Accept as a server whose certificate is for ``name``."""
        issued = self.authority.issue_cert(name)
        pem = issued.private_key_and_cert_chain_pem.bytes()
        options = PrivateCertificate.loadPEM(pem)
        certificate = CertificateOptions(
            privateKey=options.privateKey.original, certificate=options.original, **how
        )
        self.server = EchoFactory(clock=self.reactor)
        factory = TLSMemoryBIOFactory(certificate, False, self.server, self.reactor)
        pump = self.accept(server=factory.buildProtocol(None))
        pump.flush()
        return pump


class TLSTests(TLSCase):
    """Connecting with real certificates."""

    def test_a_certificate_that_is_right(self) -> None:
        """The result arrives after the handshake."""
        attempt = self.attempt()
        pump = self.serve()
        connection = self.successResultOf(attempt)
        long = b"x" * 65_000  # Twisted's TLS batches less for a turn
        connection.send(long)
        pump.flush()
        self.assertEqual(connection.events, ["connected", long])

    def test_a_string_with_tls(self) -> None:
        """The host of the string is verified, whatever the form of the string."""
        for where in ("tcp:chat.example:7000", "tcp:port=7000:host=chat.example"):
            attempt = self.attempt(where)
            self.serve()
            self.successResultOf(attempt)
        attempt = self.attempt(r"tcp:\:\:1:7000")
        self.serve("::1")
        self.successResultOf(attempt)

    def test_another_name(self) -> None:
        """A certificate for another name is rejected and closes the connection, unless it is
        requested."""
        attempt = self.attempt()
        self.serve("other.example")
        self.assertFailure(attempt, "CERTIFICATE", "chat.example", 7000)
        self.assertEqual(self.connections[0].events, [])
        attempt = self.attempt(server_name="other.example")
        self.serve("other.example")
        self.successResultOf(attempt)

    def test_another_authority(self) -> None:
        """A certificate of another authority is rejected."""
        attempt = self.attempt(trust=Certificate.loadPEM(trustme.CA().cert_pem.bytes()))
        self.serve()
        failure = self.assertFailure(attempt, "CERTIFICATE", "chat.example", 7000)
        self.assertIn("verify failed", str(failure))

    def test_a_server_that_speaks_no_tls(self) -> None:
        """A server without TLS is reported, and gets no data that it could mistake for a
        message."""
        attempt = self.attempt()
        pump = self.accept()
        pump.flush()
        self.assertFailure(attempt, "HANDSHAKE", "chat.example", 7000)

    def test_a_server_that_answers_in_plain_text(self) -> None:
        """The error says that it does not speak TLS."""
        for said in (b"220 mail.example ready\r\n", b"* OK IMAP ready\r\n", b"HTTP/1.1 400 No\r\n"):
            attempt = self.attempt()
            pump = self.accept(server=DiscardFactory(clock=self.reactor).buildProtocol(None))
            pump.serverIO.write(said)
            pump.flush()
            failure = self.assertFailure(attempt, "HANDSHAKE", "chat.example", 7000)
            text = "the server does not speak TLS (wrong version number)"
            self.assertEqual(str(failure), f"HANDSHAKE: chat.example:7000: {text}")

    def test_a_server_that_hangs_up(self) -> None:
        """A server may hang up during the handshake."""
        for how in ("loseConnection", "abortConnection"):
            attempt = self.attempt()
            pump = self.accept(server=DiscardFactory(clock=self.reactor).buildProtocol(None))
            self.assertNoResult(attempt)
            getattr(pump.serverIO, how)()
            pump.flush()
            failure = self.failureResultOf(attempt, ConnectFailed).value
            self.assertEqual(failure.code, "ECONNRESET")
            said = "closed during the TLS handshake; perhaps the server does not speak TLS"
            self.assertTrue(str(failure).endswith(said), failure)

    def test_its_own_limit_of_the_handshake(self) -> None:
        """The limit of the handshake is a timeout, and not the server's doing."""
        for limit in ("handshake_timeout", "idle_timeout"):
            factory = ConnectionFactory.forProtocol(
                Client,
                clock=self.reactor,
                **({"handshake_timeout": 0, "idle_timeout": 0} | {limit: 5}),  # type: ignore
            )
            trust = Certificate.loadPEM(self.authority.cert_pem.bytes())
            where = ("chat.example", 7000)
            attempt = connect(self.reactor, where, factory, tls=True, trust=trust)
            pump = self.accept(server=DiscardFactory(clock=self.reactor).buildProtocol(None))
            advance(self.reactor, 8)
            pump.flush()
            failure = self.assertFailure(attempt, "ETIMEDOUT", "chat.example", 7000)
            self.assertIn("handshake", str(failure))
            self.assertTrue(str(failure).endswith("perhaps the server does not speak TLS"))

    def test_giving_up_in_the_handshake(self) -> None:
        """Cancelling during the handshake leaves no connection behind."""
        attempt = self.attempt()
        pump = self.accept(server=DiscardFactory(clock=self.reactor).buildProtocol(None))
        self.assertNoResult(attempt)
        attempt.cancel()
        self.failureResultOf(attempt)
        pump.flush()
        self.assertTrue(pump.clientIO.disconnecting or pump.clientIO.disconnected)

    def test_whom_to_verify_must_be_known(self) -> None:
        """TLS to a path or an endpoint requires ``server_name``."""
        endpoint = TCP4ClientEndpoint(self.reactor, "192.0.2.7", 7000)
        for where in ("unix:/run/chat", endpoint):
            with self.assertRaises(ValueError) as caught:
                client_endpoint(self.reactor, where, tls=True)
            self.assertIn("server_name", str(caught.exception))
            client_endpoint(self.reactor, where, tls=True, server_name="chat.example")

    def test_old_versions_are_not_spoken(self) -> None:
        """A server with TLS 1.1 or older only is rejected."""
        attempt = self.attempt()
        issued = PrivateCertificate.loadPEM(
            self.authority.issue_cert("chat.example").private_key_and_cert_chain_pem.bytes()
        )
        options = CertificateOptions(
            privateKey=issued.privateKey.original, certificate=issued.original
        )
        options.getContext().set_min_proto_version(SSL.TLS1_VERSION)
        options.getContext().set_max_proto_version(SSL.TLS1_1_VERSION)
        options.getContext().set_cipher_list(b"ALL:@SECLEVEL=0")
        echo = EchoFactory(clock=self.reactor)
        factory = TLSMemoryBIOFactory(options, False, echo, self.reactor)
        self.accept(server=factory.buildProtocol(None)).flush()
        self.assertFailure(attempt, "HANDSHAKE", "chat.example", 7000)


class TLSServiceTests(TLSCase):
    """Services that stay connected over TLS, and how they stop."""

    def test_stopping_over_tls(self) -> None:
        """``stopService`` ends a connection over TLS, although TLS waits for its producer."""
        trust = Certificate.loadPEM(self.authority.cert_pem.bytes())
        where = ("chat.example", 7000)
        ours = ConnectionFactory.forProtocol(Client, clock=self.reactor)
        twisteds = ClientService(
            client_endpoint(self.reactor, where, tls=True, trust=trust), ours, clock=self.reactor
        )
        for client in (
            ReconnectingClient(self.reactor, where, Client, tls=True, trust=trust),
            ChatClient(self.reactor, where, "ann", tls=True, trust=trust),
            twisteds,
        ):
            client.startService()
            pump = self.serve()
            stopped = client.stopService()
            self.reactor.advance(0)
            pump.flush()
            self.successResultOf(stopped)
            self.assertEqual(len(self.server), 0)
            self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_server_that_never_closes(self) -> None:
        """The grace also limits the wait for a server that does not answer the end."""
        trust = Certificate.loadPEM(self.authority.cert_pem.bytes())
        client = ReconnectingClient(
            self.reactor, ("chat.example", 7000), Client, tls=True, trust=trust
        )
        client.startService()
        pump = self.serve()
        stopped = client.stopService()
        self.assertNoResult(stopped)
        advance(self.reactor, 20)
        pump.flush()
        self.successResultOf(stopped)


class ReconnectingTests(ClientCase):
    def client(self, **how: Any) -> ReconnectingClient:
        """Return a client whose delays are 1, 2, 4, 4, ... seconds."""
        how.setdefault("backoff", Backoff(first=0.5, longest=4))
        client = ReconnectingClient(
            self.reactor, "tcp:chat.example:7000", Client, jitter=lambda: 1.0, **how
        )
        self.addCleanup(client.stopService)
        client.startService()
        return client

    def delays(self, count: int) -> list[float]:
        """Fail ``count`` attempts; return the delay before each next one."""
        found = []
        for _ in range(count):
            before = len(self.reactor.tcpClients)
            self.refuse(error.ConnectionRefusedError(osError=111))
            began = self.reactor.seconds()
            while len(self.reactor.tcpClients) == before:
                self.reactor.advance(0.25)
            found.append(self.reactor.seconds() - began)
        return found

    def test_it_tries_again_after_growing_delays(self) -> None:
        """Delays grow up to the longest, and a success resets them."""
        client = self.client()
        self.assertEqual(self.delays(5), [1, 2, 4, 4, 4])
        pump = self.accept()
        self.successResultOf(client.whenConnected())
        pump.serverIO.loseConnection()
        pump.flush()
        before = len(self.reactor.tcpClients)
        self.reactor.advance(1)
        self.assertEqual(len(self.reactor.tcpClients), before + 1)
        self.assertEqual(self.delays(2), [2, 4])

    def test_the_jitter(self) -> None:
        """Each delay uses the jitter."""
        numbers = iter([0.0, 1.0, 0.0])
        client = ReconnectingClient(
            self.reactor,
            "tcp:chat.example:7000",
            Client,
            backoff=Backoff(first=0.5, longest=4),
            jitter=lambda: next(numbers),
        )
        client.startService()
        self.addCleanup(client.stopService)
        self.assertEqual(self.delays(3), [0.5, 2, 0.5])

    def test_the_connection(self) -> None:
        """``whenConnected`` returns each new connection; ``stopService`` ends it for good."""
        client = self.client()
        waiting = client.whenConnected()
        self.assertNoResult(waiting)
        pump = self.accept()
        connection: Any = self.successResultOf(waiting)
        self.assertIsInstance(connection, Client)
        connection.send("hello")
        pump.flush()
        self.assertEqual(connection.events, ["connected", b"hello"])
        stopped = client.stopService()
        pump.flush()
        self.successResultOf(stopped)
        self.reactor.advance(60)
        self.assertEqual(len(self.reactor.tcpClients), 1)

    def test_a_handshake_that_fails_is_a_failed_attempt(self) -> None:
        """A failed handshake is a failed attempt: the client waits, and the delays grow."""
        client = self.client(tls=True, trust=_trust())
        waiting = client.whenConnected()
        for delay in (1, 2):
            self.accept().flush()
            self.assertNoResult(waiting)
            before = len(self.reactor.tcpClients)
            self.reactor.advance(delay - 0.25)
            self.assertEqual(len(self.reactor.tcpClients), before)
            self.reactor.advance(0.25)
            self.assertEqual(len(self.reactor.tcpClients), before + 1)
        self.assertEqual(self.flushLoggedErrors(), [])
        client.stopService()
        self.failureResultOf(waiting, CancelledError)

    def test_stopping_during_the_handshake(self) -> None:
        """Stopping during the handshake leaves no connection behind."""
        client = self.client(tls=True, trust=_trust())
        pump = self.accept(server=DiscardFactory(clock=self.reactor).buildProtocol(None))
        stopped = client.stopService()
        pump.flush()
        self.successResultOf(stopped)
        self.assertTrue(pump.clientIO.disconnecting or pump.clientIO.disconnected)
        self.reactor.advance(60)
        self.assertEqual(len(self.reactor.tcpClients), 1)

    def test_stopping_while_it_waits(self) -> None:
        """Stopping while it waits leaves no timer behind."""
        client = self.client()
        self.refuse(error.ConnectionRefusedError(osError=111))
        self.successResultOf(client.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])


def _trust() -> Certificate:
    return Certificate.loadPEM(trustme.CA().cert_pem.bytes())
