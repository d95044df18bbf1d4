"""Tests of accounts: of :mod:`twisted_net.chat.login`, of the throttle, and over the wire."""

from __future__ import annotations

from typing import Any

from OpenSSL.crypto import X509
from twisted.cred.checkers import ICredentialsChecker, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import (
    LogLevel,
    capturedLogs,
    eventAsText,
    formatEvent,
    formatEventAsClassicLogText,
)
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.chat.chat_peers import ChatCase, Program
from tests.fail2ban import banned
from tests.tls.handshakes import Issued
from twisted_net.chat.greeting import GREETING_DELAY
from twisted_net.chat.limits import ChatLimits
from twisted_net.chat.login import Accounts
from twisted_net.chat.login_throttle import (
    FROM_ADDRESS,
    FROM_ADDRESS_TO_ACCOUNT,
    TO_ACCOUNT,
    LoginThrottle,
)
from twisted_net.chat.messages import RequestError
from twisted_net.testing import connect_peer, connect_tls_peer


class ThrottleTests(SynchronousTestCase):
    """Tests of which attempts count for whom. Waits are seconds."""

    def setUp(self) -> None:
        self.throttle = LoginThrottle()

    def fail_logins(self, count: int, account: str, host: str, now: float = 0.0) -> None:
        """Let logins fail."""
        for _ in range(count):
            self.throttle.begin(account, host, now)

    def wait(self, account: str, host: str, now: float = 0.0) -> float:
        """Return how long an attempt has to wait."""
        return self.throttle.wait(account, host, now)[0]

    def test_an_account_from_an_address(self) -> None:
        """A few attempts are checked at once, and then one after some seconds, however many."""
        rate, burst = FROM_ADDRESS_TO_ACCOUNT
        self.fail_logins(burst - 1, "ann", "192.0.2.1")
        self.assertEqual(self.wait("ann", "192.0.2.1"), 0)
        self.fail_logins(1, "ann", "192.0.2.1")
        self.assertEqual(self.wait("ann", "192.0.2.1"), 1 / rate)
        self.assertEqual(self.wait("Ann", "192.0.2.1"), 1 / rate)  # case makes no new account
        self.assertEqual(self.wait("ann", "192.0.2.1", 1 / rate), 0)

    def test_nobody_else_is_delayed(self) -> None:
        """Neither are other accounts of the address, nor the account from other addresses."""
        self.fail_logins(20, "ann", "192.0.2.1")
        self.assertGreater(self.wait("ann", "192.0.2.1"), 0)
        self.assertEqual(self.wait("bob", "192.0.2.1"), 0)
        self.assertEqual(self.wait("ann", "192.0.2.2"), 0)

    def test_an_address(self) -> None:
        """An address that tries many accounts has a limit; one who logged in there has not."""
        self.throttle.begin("bob", "192.0.2.1", 0.0)
        self.throttle.succeeded("bob", "192.0.2.1", 0.0)
        for number in range(FROM_ADDRESS[1]):
            self.fail_logins(1, f"a{number}", "192.0.2.1")
        self.assertEqual(self.wait("eve", "192.0.2.1"), 1 / FROM_ADDRESS[0])
        self.assertEqual(self.wait("bob", "192.0.2.1"), 0)
        self.assertEqual(self.wait("eve", "192.0.2.2"), 0)

    def test_an_account_from_many_addresses(self) -> None:
        """An account has a limit for all addresses, but not where it logged in before."""
        self.throttle.begin("ann", "192.0.2.9", 0.0)
        self.throttle.succeeded("ann", "192.0.2.9", 0.0)
        for number in range(TO_ACCOUNT[1]):
            self.fail_logins(1, "ann", f"198.51.100.{number}")
        self.assertEqual(self.wait("ann", "192.0.2.1"), 1 / TO_ACCOUNT[0])
        self.assertEqual(self.wait("ann", "192.0.2.9"), 0)
        self.assertEqual(self.wait("bob", "192.0.2.1"), 0)

    def test_loopback(self) -> None:
        """Loopback addresses and Unix sockets, which may be anybody's, have no limit."""
        for number in range(200):
            self.fail_logins(1, f"a{number}", "")
        self.assertEqual(self.wait("bob", ""), 0)
        self.fail_logins(10, "bob", "")
        self.assertGreater(self.wait("bob", ""), 0)

    def test_a_right_password_costs_nothing(self) -> None:
        """Right passwords do not count, and end the wait of that account at that address."""
        for _ in range(100):
            self.throttle.begin("ann", "192.0.2.1", 0.0)
            self.throttle.succeeded("ann", "192.0.2.1", 0.0)
            self.throttle.begin("bob", "192.0.2.1", 0.0)
            self.throttle.succeeded("bob", "192.0.2.1", 0.0)
        self.assertEqual(self.wait("ann", "192.0.2.1"), 0)
        self.assertEqual(self.wait("eve", "192.0.2.1"), 0)

    def test_it_is_bounded(self) -> None:
        """The tables have a maximum size, and hold nothing of those who failed long ago."""
        for number in range(12_000):
            self.throttle.begin(str(number), f"host {number}", 0.0)
            self.throttle.succeeded(str(number), f"host {number}", 0.0)
            self.throttle.begin(f"x{number}" * 1000, "", 0.0)
        self.assertLessEqual(len(self.throttle._attempts), 10_000)
        self.assertLessEqual(len(self.throttle._known), 10_000)
        self.throttle.begin("ann", "", 1000.0)
        self.assertLessEqual(len(self.throttle._attempts), 2)


class AccountsTests(SynchronousTestCase):
    """Tests of attempts that wait."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.accounts = Accounts([InMemoryUsernamePasswordDatabaseDontUse(ann=b"right")])

    def login(self, password: str, host: str = "192.0.2.1", delay: float = 0) -> Deferred[Any]:
        """Log in as ann."""
        return Deferred.fromCoroutine(
            self.accounts.verify(self.clock, "ann", password, host, 0, delay)
        )

    def test_a_hundred_that_wait_and_go(self) -> None:
        """Attempts whose connections are gone delay nobody, and leave nothing behind."""
        for _ in range(FROM_ADDRESS_TO_ACCOUNT[1]):
            self.assertIsNone(self.successResultOf(self.login("wrong")))
        waiting = [self.login("wrong") for _ in range(100)]
        for each in waiting:
            self.assertNoResult(each)
            each.cancel()
            self.failureResultOf(each, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual((self.accounts._waiting, self.accounts._calls), ({}, {}))
        ann = self.login("right")
        self.clock.advance(1 / FROM_ADDRESS_TO_ACCOUNT[0])
        self.assertEqual(self.successResultOf(ann), "ann")

    def test_a_hundred_that_stay(self) -> None:
        """Somebody who comes later does not wait for those that were there before."""
        for _ in range(FROM_ADDRESS_TO_ACCOUNT[1]):
            self.login("wrong")
        waiting = [self.login("wrong") for _ in range(100)]
        self.clock.advance(1)
        ann = self.login("right")
        self.clock.advance(1 / FROM_ADDRESS_TO_ACCOUNT[0])
        self.assertEqual(self.successResultOf(ann), "ann")
        self.clock.pump([1.0] * 40)
        for each in waiting:
            result = each.result
            self.assertTrue(result is None or result.check(RequestError), result)
            each.addErrback(lambda _: None)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_how_many_are_checked(self) -> None:
        """However many attempts wait, an address gets few passwords of an account checked."""
        checked: list[Any] = []
        self.accounts._checkers = [Recording(checked)]
        rate, burst = FROM_ADDRESS_TO_ACCOUNT
        for _ in range(60):
            for _ in range(10):
                self.login("wrong").addErrback(lambda _: None)
            self.clock.advance(1)
        self.assertAlmostEqual(len(checked), burst + 60 * rate, delta=1)

    def test_an_attempt_that_waits_for_too_long(self) -> None:
        """Each attempt has an answer within a bound: when to try again."""
        for _ in range(FROM_ADDRESS_TO_ACCOUNT[1]):
            self.login("wrong")
        first, *others = (self.login("wrong") for _ in range(20))
        self.clock.pump([1.0] * 31)
        for each in others:
            each.addErrback(lambda _: None)
        error = self.failureResultOf(first, RequestError).value
        self.assertEqual((error.code, error.field), ("try-later", "password"))
        self.assertEqual(str(error), "Too many logins have failed. Try again in 5 seconds.")
        self.assertEqual(error.retry_after, 5)

    def test_a_delay(self) -> None:
        """An attempt may have to wait first, and leaves nothing behind if it is cancelled then."""
        attempt, other = self.login("right", delay=2), self.login("right", delay=2)
        self.clock.advance(1.9)
        self.assertNoResult(attempt)
        other.cancel()
        self.failureResultOf(other, CancelledError)
        self.clock.advance(0.2)
        self.assertEqual(self.successResultOf(attempt), "ann")
        self.assertEqual(self.clock.getDelayedCalls(), [])


@implementer(ICredentialsChecker)
class Recording:
    """A checker that accepts nothing, and records what it is asked."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, asked: list[Any]) -> None:
        self.asked = asked

    def requestAvatarId(self, credentials: Any) -> Any:
        self.asked.append(credentials.username)
        raise UnauthorizedLogin


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
        peer.advance(GREETING_DELAY)
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

    def test_the_next_login(self) -> None:
        """Who logs in as somebody who has just left is a member; the one who left is not."""
        bot = self.program("bot")
        first = self.tls()
        first.send(b"/login ann secret-1\n")
        second = self.tls()
        self.pass_presence(bot)
        first.reset()
        second.send(b"/login ann secret-1\n")
        self.clock.pump([0.1] * 10)
        told = [(each["event"], each["nick"]) for each in bot.heard()]
        self.assertEqual(told, [("leave", "ann"), ("nick", "guest-2")])

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
        peer.advance(GREETING_DELAY)
        self.assertTrue(peer.take().startswith(b"Welcome to the chat server! Log in with /login"))
        peer.send(b"hello\n/login ann secret-1\n")
        self.assertIn(b"You are ann in #lobby.", peer.take())
        self.clock.advance(60)
        program = Program(connect_peer(self.factory))
        (error,) = program.asks(type="hello", nick="x")
        self.assertEqual((error["code"], error["field"]), ("login-first", "user"))
        (error,) = program.asks(type="hello", user="boss", password="x")
        self.assertEqual((error["code"], error["field"]), ("login-failed", "password"))
        self.clock.advance(30)
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
        peer.advance(GREETING_DELAY)
        self.assertIn(b"You are boss in #lobby.", peer.take())
        self.assertTrue(peer.protocol.user.operator)

    def test_kick_ban_and_mute(self) -> None:
        """Operators can kick, ban and mute. A banned user who comes back is told why."""
        boss = self.tls()
        boss.send(b"/login boss secret-2\n")
        where = IPv4Address("TCP", "198.51.100.7", 1)
        eve = connect_peer(self.factory, peer=where)
        self.clock.advance(GREETING_DELAY)
        ann = self.user("ann2")
        self.pass_presence(boss, eve, ann)
        boss.send(b"/mute guest-2 1\n")
        eve.send(b"hello\n")
        self.assertTrue(eve.take().endswith(b"! You may speak again in 60 seconds.\n"))
        other = connect_peer(self.factory, peer=IPv4Address("TCP", "198.51.100.7", 2))
        self.clock.advance(GREETING_DELAY)
        silent = connect_peer(self.factory, peer=IPv4Address("TCP", "198.51.100.7", 3))
        boss.send(b"/ban guest-2 5 spam\n")
        self.assertTrue(eve.take().endswith(b"* An operator closed the connection.\n"))
        self.assertIn(b"* guest-2 was banned by boss: spam\n", ann.take())
        self.assertTrue(other.take().endswith(b"* An operator closed the connection.\n"))
        again = connect_peer(self.factory, peer=where)
        for way in (b"", b"hello\n"):
            again.send(way)
            again.advance(GREETING_DELAY)
            self.assertTrue(again.take().startswith(b"! You are banned for 5 minutes more.\n"))
            again = connect_peer(self.factory, peer=where)
        self.assertTrue(silent.take().startswith(b"! You are banned for 5 minutes more.\n"))
        program = Program(connect_peer(self.factory, peer=where))
        error, goodbye = program.asks(type="hello", nick="eve")
        self.assertEqual((error["code"], goodbye["type"]), ("banned", "goodbye"))
        self.assertEqual(ann.take(), b"* guest-2 left #lobby.\n")
        ann.send(b"/kick boss\n")
        self.assertEqual(ann.take(), b"! Only operators may do that.\n")

    def test_the_failures_of_a_connection(self) -> None:
        """Each wrong password doubles the wait for the connection's next one, from then on."""
        self.factory = self.make(plain_logins=True, **self.settings)
        peer = connect_peer(self.factory)
        for seconds in (0, 1, 2, 4):
            peer.send(b"/login ann wrong\n")
            if seconds:
                peer.advance(seconds - 0.5)
                self.assertEqual(peer.take(), b"")
                peer.advance(0.5)
            self.assertTrue(peer.take().endswith(b"! The login failed.\n"))
        peer.advance(8.1)  # who thinks for so long has waited already
        peer.send(b"/login ann secret-1\n")
        self.assertEqual(peer.take(), b"* You are ann now.\n")

    def test_the_owner(self) -> None:
        """Those who guess the owner's password at the same address do not keep the owner out.

        Who has failed already comes later than somebody who has not, however often they come.
        """
        self.factory = self.make(plain_logins=True, **self.settings)
        for _ in range(30):
            connect_peer(self.factory).send(*[b"/login ann wrong\n"] * 6)
        for _ in range(3):
            self.clock.pump([0.1] * 97)
            ann = connect_peer(self.factory)
            ann.send(b"/login ann secret-1\n")
            self.clock.pump([0.1] * 51)
            self.assertIn(b"* You are ann", ann.take())
            ann.send(b"/quit\n")
            ann.write_eof()

    def test_a_neighbour(self) -> None:
        """Wrong passwords of a neighbour, or of a proxy's other users, lock nobody out."""
        for where in (
            IPv4Address("TCP", "198.51.100.7", 1),
            IPv4Address("TCP", "127.0.0.1", 1),
            UNIXAddress("/run/proxy"),
        ):
            self.factory = self.make(plain_logins=True, **self.settings)
            for _ in range(20):
                eve = connect_peer(self.factory, peer=where)
                eve.send(*[b"/login boss wrong\n"] * 5)
            ann = connect_peer(self.factory, peer=where)
            ann.send(b"/login ann secret-1\n")
            self.assertIn(b"* You are ann now.\n", ann.take())

    def test_a_refused_login(self) -> None:
        """A login that cannot be checked in time is refused in both forms, and can be repeated."""
        self.factory = self.make(plain_logins=True, **self.settings)
        for _ in range(30):
            connect_peer(self.factory).send(b"/login ann wrong\n")
        person, program = connect_peer(self.factory), Program(connect_peer(self.factory))
        with capturedLogs() as events:
            person.send(b"/login ann secret-1\n")
            program.send(type="hello", user="ann", password="secret-1")
            for _ in range(35):
                connect_peer(self.factory).send(b"/login ann wrong\n")
                connect_peer(self.factory).send(b"/login ann wrong\n")
                self.clock.advance(1)
        line = b"! Too many logins have failed. Try again in 5 seconds.\n"
        self.assertIn(line, person.take())
        error, *_ = program.heard()
        self.assertEqual((error["code"], error["retry_after"]), ("try-later", 5))
        refused = [line for line in map(formatEvent, events) if "was refused" in line]
        for event in events:
            if formatEvent(event) in refused:
                self.assertIsNone(banned(str(formatEventAsClassicLogText(event)).strip()))
        self.assertIn(
            "Connection 31 from 192.0.2.2:54321: a login as 'ann' was refused: "
            "too many have failed",
            refused,
        )
        self.clock.pump([1.0] * 60)
        person.send(b"/login ann secret-1\n")
        self.assertIn(b"* You are ann now.\n", person.take())

    def test_a_time_limit(self) -> None:
        """Who has to log in, or to say hello, has a minute, whatever was sent meanwhile."""
        self.factory = self.make(anonymous=False, plain_logins=True, **self.settings)
        silent, talker, typist = (connect_peer(self.factory) for _ in range(3))
        program = Program(connect_peer(self.factory))
        ann, boss = connect_peer(self.factory), Program(connect_peer(self.factory))
        ann.send(b"/login ann secret-1\n")
        boss.send(type="hello", user="boss", password="secret-2")
        program.send(type="ping")
        for _ in range(118):
            talker.send(b"/ping\n")
            typist.send(b"x")
            program.send(type="pong")
            self.clock.advance(0.5)
        for peer in (silent, talker, typist, program.peer):
            self.assertTrue(peer.connected)
        self.clock.advance(1)
        late = b"! You have to log in within 60 seconds.\n* The login failed.\n"
        for peer in (silent, talker, typist):
            self.assertTrue(peer.take().endswith(late))
            self.assertEqual(peer.protocol.reason.code, "login")
        error, goodbye = program.heard()[-2:]
        self.assertEqual((error["code"], goodbye["code"]), ("login-late", "login"))
        self.assertEqual(error["text"], "You have to say hello within 60 seconds.")
        self.clock.advance(10_000)
        self.assertTrue(ann.connected)
        self.assertEqual(len(self.factory._logging_in), 0)

    def test_a_late_hello_has_a_time_limit(self) -> None:
        """A program that was greeted as a person first has the same minute for its hello."""
        self.factory = self.make(plain_logins=True, **self.settings)
        program = Program(connect_peer(self.factory))
        self.clock.pump([GREETING_DELAY, 100])
        program.send(type="ping")
        self.clock.advance(59)
        self.assertTrue(program.peer.connected)
        self.clock.advance(2)
        self.assertEqual(program.peer.protocol.reason.code, "login")

    def test_no_time_limit(self) -> None:
        """The time limit can be switched off; guests have none."""
        never = ChatLimits(login_timeout=0)
        self.factory = self.make(anonymous=False, chat_limits=never, **self.settings)
        peer = connect_peer(self.factory)
        self.factory = self.make(**self.settings)
        guest = connect_peer(self.factory)
        self.clock.pump([GREETING_DELAY, 1000])
        self.assertTrue(peer.connected and guest.connected)

    def test_the_log(self) -> None:
        """Logins, failed logins and names are logged with the address; passwords never are."""
        self.factory = self.make(plain_logins=True, **self.settings)
        with capturedLogs() as events:
            ann, boss = connect_peer(self.factory), Program(connect_peer(self.factory))
            ann.send(b"/nick zoe\n/login ann' from 192.0.2.9:1: a login wrong-1\n")
            ann.send(b"/login ann wrong-2\n/login ann secret-1\n")
            boss.send(type="hello", user="boss", password="secret-2")
            self.clock.pump([1.0] * 8)
            bot = Program(connect_peer(self.factory))
            bot.send(type="hello", nick="bot")
            boss.send(type="nick", nick="other")
        lines = [
            f"Connection 1 from 192.0.2.2:54321: {line}" for line in (
                "guest-1 is called zoe now",
                """a login as "ann'" failed""",
                "a login as 'ann' failed",
                "'ann' logged in, and is called ann",
            )
        ]  # fmt: skip
        lines.insert(2, "Connection 2 from 192.0.2.2:54321: 'boss' logged in, and is called boss")
        lines.append("Connection 3 from 192.0.2.2:54321: it is called bot")
        shown = [event for event in events if event["log_level"] >= LogLevel.info]
        self.assertEqual(list(map(formatEvent, shown)), lines)
        self.assertNotRegex(repr(events) + "".join(map(eventAsText, events)), "wrong-|secret-")
        self.assertEqual(
            [each.name_for_log() for each in self.factory.connections.values()],
            ["ann", "boss", "bot"],
        )
        found = [banned(str(formatEventAsClassicLogText(event)).strip()) for event in shown]
        failed = ["192.0.2.2" if "failed" in line else None for line in lines]
        self.assertEqual(found, failed, "the filter of fail2ban finds failed logins only")

    def test_an_evicted_guest_is_logged(self) -> None:
        """A guest whose name belongs to an account is logged with the new name."""
        self.user("ann")
        with capturedLogs() as events:
            peer = self.tls()
            peer.send(b"/login ann secret-1\n")
        lines = [formatEvent(event) for event in events]
        self.assertIn("Connection 1 from 192.0.2.2:54321: ann is called guest-3 now", lines)
