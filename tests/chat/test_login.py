"""Tests of accounts: of :mod:`twisted_net.chat.login`, of the throttle, and over the wire."""

from __future__ import annotations

from typing import Any

from OpenSSL.crypto import X509
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet.address import IPv4Address
from twisted.logger import capturedLogs, eventAsText
from twisted.trial.unittest import SynchronousTestCase

from tests.chat.chat_peers import ChatCase, Program
from tests.tls.handshakes import Issued
from twisted_net.chat.login_throttle import FORGET_AFTER, LONGEST_WAIT, LoginThrottle
from twisted_net.testing import connect_peer, connect_tls_peer


class AttemptsTests(SynchronousTestCase):
    def test_each_waits_longer(self) -> None:
        """Each attempt waits longer, up to a limit, even if all are made at once."""
        throttle = LoginThrottle()
        waits = [throttle.attempt("a", 0.0) for _ in range(5)]
        self.assertEqual(waits, [0, 1, 3, 7, 15])
        for _ in range(9):
            last, before = throttle.attempt("a", 0.0), waits[-1]
            self.assertLessEqual(last - before, LONGEST_WAIT)
            waits.append(last)
        self.assertEqual(throttle.attempt("b", 0.0), 0)

    def test_they_are_forgotten(self) -> None:
        """Attempts are forgotten after a while, and after the right password."""
        throttle = LoginThrottle()
        for _ in range(3):
            throttle.attempt("a", 0.0)
        self.assertEqual(throttle.attempt("a", FORGET_AFTER + 100), 0)
        throttle.attempt("b", 0.0)
        throttle.succeeded("b")
        self.assertEqual(throttle.attempt("b", 0.0), 0)

    def test_the_table_is_bounded(self) -> None:
        """The table has a maximum size."""
        throttle = LoginThrottle()
        for number in range(12_000):
            throttle.attempt(str(number), 0.0)
        self.assertLessEqual(len(throttle._table), 10_000)


class LoginTests(ChatCase):
    """Tests over connections that look like TLS."""

    def setUp(self) -> None:
        super().setUp()
        first = InMemoryUsernamePasswordDatabaseDontUse(ann=b"secret-1")
        second = InMemoryUsernamePasswordDatabaseDontUse(boss=b"secret-2")
        self.settings = {"checkers": [first, second], "operators": ["Boss"]}
        self.factory = self.make(**self.settings)

    def tls(self) -> Any:
        """Connect a user over TLS, and read the lines that it is sent first."""
        peer = connect_tls_peer(self.factory)
        peer.handshake()
        peer.take()
        return peer

    def test_a_login(self) -> None:
        """Any of the checkers may accept a login; the user takes the account's name."""
        for name, password in (("ann", "secret-1"), ("boss", "secret-2")):
            peer = self.tls()
            peer.send(f"/login {name} {password}\n".encode())
            self.assertEqual(peer.take(), f"* You are {name} now.\n".encode())
            self.assertEqual(peer.protocol.user.operator, name == "boss")
            self.clock.advance(60)

    def test_a_login_after_a_space(self) -> None:
        """``/login`` after a space or a byte order mark logs in: the password is not said."""
        ann2 = self.user("ann2")
        for before in (b" ", b"\t ", b"\xef\xbb\xbf", b"\xe2\x80\x8b "):
            peer = self.tls()
            self.pass_presence(ann2, peer)
            peer.send(before + b"/LOGIN ann secret-1\n")
            self.assertEqual(peer.take(), b"* You are ann now.\n")
            self.assertNotIn(b"secret", ann2.take())
            peer.reset()
            self.clock.advance(60)
            ann2.take()
            ann2.send(before.replace(b" ", b"") + b" /loginfo is a command\n")
            self.assertNotIn(b"!", ann2.take())

    def test_a_wrong_password(self) -> None:
        """A wrong password causes an error, and delays the next attempt. No password is logged."""
        peer = self.tls()
        with capturedLogs() as events:
            peer.send(b"/login ann wrong-1\n/login ann wrong-2\n/ping\n")
            self.assertEqual(peer.take(), b"! The login failed.\n")
            peer.advance(1.1)
            self.assertEqual(peer.take(), b"! The login failed.\n* pong\n")
        logged = "\n".join(map(eventAsText, events)) + repr(events)
        self.assertIn("'ann'", logged)
        self.assertNotIn("wrong-", logged)
        self.assertEqual(self.factory.accounts.throttle.failed, 2)

    def test_too_many_wrong_passwords(self) -> None:
        """Too many wrong passwords close the connection."""
        peer = self.tls()
        peer.send(*[b"/login ann wrong\n"] * 9)
        peer.advance(100)
        self.assertEqual(peer.protocol.reason.code, "login")
        self.assertTrue(peer.received.endswith(b"* The login failed.\n"))

    def test_plain_tcp(self) -> None:
        """No password is accepted over plain TCP, unless a setting allows it."""
        peer = connect_peer(self.factory)
        peer.send(b"/login ann secret-1\n")
        self.assertIn(b"! Passwords are taken over TLS only.\n", peer.received)
        self.factory = self.make(plain_logins=True, **self.settings)
        peer = connect_peer(self.factory)
        peer.send(b"/login ann secret-1\n")
        self.assertIn(b"* You are ann now.\n", peer.received)

    def test_nobody_without_an_account(self) -> None:
        """Without an account, no user may enter in either form, if the settings say so."""
        self.factory = self.make(anonymous=False, plain_logins=True, **self.settings)
        peer = connect_peer(self.factory)
        self.assertTrue(peer.take().startswith(b"Welcome to the chat server! Log in with /login"))
        peer.send(b"hello\n/login ann secret-1\n")
        self.assertIn(b"You are ann in #lobby.", peer.take())
        self.clock.advance(60)
        program = Program(connect_peer(self.factory))
        (error,) = program.asks(type="hello", nick="x")
        self.assertEqual((error["code"], error["field"]), ("login-first", "user"))
        (error,) = program.asks(type="hello", user="boss", password="x")
        self.assertEqual((error["code"], error["field"]), ("login-failed", "password"))
        self.clock.advance(60)
        welcome, joined = program.asks(type="hello", user="boss", password="secret-2", room="a")
        self.assertEqual((welcome["nick"], joined["room"]), ("boss", "a"))
        (told,) = program.asks(type="kick", nick="nobody")
        self.assertEqual(told["code"], "no-such-nick")

    def test_leaving_while_it_is_looked_at(self) -> None:
        """A login has no effect if the user leaves while the password is checked."""
        for _ in range(3):
            peer = self.tls()
            peer.send(b"/login ann wrong\n")
        peer.send(b"/login ann secret-1\n")
        peer.reset()
        self.clock.advance(100)
        self.assertIsNone(self.factory.registry.find("ann"))

    def test_a_certificate(self) -> None:
        """A client certificate logs in to an account from the start."""

        shown = X509.from_cryptography(Issued("boss").certificate)
        peer = connect_tls_peer(self.factory)
        peer.getPeerCertificate = lambda: shown  # type: ignore[method-assign]
        peer.handshake()
        self.assertIn(b"You are boss in #lobby.", peer.take())
        self.assertTrue(peer.protocol.user.operator)

    def test_kick_ban_and_mute(self) -> None:
        """Operators can kick, ban and mute. A banned user who comes back is told why."""
        boss = self.tls()
        boss.send(b"/login boss secret-2\n")
        where = IPv4Address("TCP", "198.51.100.7", 1)
        eve, ann = connect_peer(self.factory, peer=where), self.user("ann2")
        self.pass_presence(boss, eve, ann)
        boss.send(b"/mute guest-2 1\n")
        eve.send(b"hello\n")
        self.assertTrue(eve.take().endswith(b"! You may speak again in 60 seconds.\n"))
        other = connect_peer(self.factory, peer=IPv4Address("TCP", "198.51.100.7", 2))
        boss.send(b"/ban guest-2 5 spam\n")
        self.assertTrue(eve.take().endswith(b"* An operator closed the connection.\n"))
        self.assertIn(b"* guest-2 was banned by boss: spam\n", ann.take())
        self.assertTrue(other.take().endswith(b"* An operator closed the connection.\n"))
        again = connect_peer(self.factory, peer=where)
        self.assertTrue(again.received.startswith(b"! You are banned for 5 minutes more.\n"))
        ann.send(b"/kick boss\n")
        self.assertEqual(ann.take(), b"! Only operators may do that.\n")
