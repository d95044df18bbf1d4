"""The client of Redis: :mod:`twisted_net.store.redis.client` and its connection."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.store.fake_redis import INFO, OK, FakeRedis, bulk, published, push, sealed
from twisted_net.policy.backoff import Backoff
from twisted_net.store.interface import StoreError
from twisted_net.store.redis import connection
from twisted_net.store.redis.client import RedisClient
from twisted_net.store.redis.errors import (
    RedisReplyError,
    RedisUnavailable,
    TooManyCommands,
)
from twisted_net.store.redis.location import parse_location
from twisted_net.store.redis.scripts import CLOSE, SCRIPTS

URL = "redis://ann:secret@h/2"


class ClientCase(SynchronousTestCase):
    """A client and a Redis in memory.

    :ivar told: what the client has told: ``"opened"``, or why there is no connection.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.redis = FakeRedis(self.clock)
        self.told: list[str] = []
        self.client = RedisClient(
            *(self.clock, parse_location(URL, {"timeout": "2"}), self.redis, "netchat-1"),
            opened=lambda: self.told.append("opened"),
            closed=self.told.append,
            backoff=Backoff(first=1, longest=1),
        )

    def begin(self) -> None:
        """Start the client, and let it log in."""
        self.client.start()
        self.addCleanup(self.client.stop)
        self.turn()

    def turn(self) -> None:
        self.clock.advance(0)
        self.redis.run()

    def error(self, result: Deferred[Any], kind: type[Exception] = RedisUnavailable) -> str:
        return str(self.failureResultOf(result, kind).value)


class LoginTests(ClientCase):
    def test_the_login(self) -> None:
        """A connection logs in with a name, selects its database, checks, and loads scripts."""
        self.begin()
        hello, select, client, info, *scripts = self.redis.login
        login = [b"AUTH", b"ann", b"secret", b"SETNAME", b"netchat-1"]
        self.assertEqual(hello, [b"HELLO", b"3", *login])
        self.assertEqual((select, info), ([b"SELECT", b"2"], [b"INFO"]))
        self.assertEqual(client, [b"CLIENT", b"INFO"])
        self.assertEqual([each[2] for each in scripts], [script.text for script in SCRIPTS])
        self.assertEqual(self.told, ["opened"])
        self.assertIsNotNone(self.client.connection)

    def test_servers_that_cannot_be_used(self) -> None:
        """A server that cannot be used is tried again later, and the reason is told."""
        for field, wrong, says in (
            ("cluster_enabled:0", "cluster_enabled:1", "Redis Cluster is not supported"),
            ("role:master", "role:slave", "READONLY"),
            ("loading:0", "loading:1", "LOADING"),
            ("7.0.15", "6.0.16", "version 6.0.16 is too old"),
        ):
            self.setUp()
            self.redis.info = INFO.replace(field, wrong)
            self.begin()
            self.assertEqual(len(self.told), 1, field)
            self.assertIn(says, self.told[0])
            self.assertIn(says, self.error(self.client.execute(["PING"])))
            self.redis.info = INFO
            self.redis.advance(1.1)
            self.assertEqual(self.told[1:], ["opened"])

    def test_a_login_that_was_changed_on_its_way(self) -> None:
        """Another protocol, database or script than was asked for ends the connection."""
        for answer, says in (
            (b"%1\r\n+proto\r\n:2\r\n", "does not speak RESP3"),
            (OK, "does not speak RESP3"),
        ):
            self.setUp()
            self.redis.hello = answer
            self.begin()
            self.assertIn(says, self.told[0])
        for name, reply, says in (
            ("CLIENT", bulk("id=3 db=3 sub=0"), "another database was selected"),
            ("INFO", b":1\r\n", "does not tell about itself"),
            ("SCRIPT", bulk("another digest"), "a script was changed on its way"),
        ):
            self.setUp()
            self.redis.answers[name.encode()] = reply
            self.begin()
            self.assertEqual(len(self.told), 1)
            self.assertIn(says, self.told[0])

    def test_a_login_that_is_refused(self) -> None:
        """A password that is refused is told, without showing it."""
        self.redis.hello = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
        self.begin()
        self.assertIn("the password is wrong for the user 'ann'", self.told[0])
        self.assertNotIn("secret", self.told[0])

    def test_a_login_without_an_answer(self) -> None:
        """A server that says nothing is left after the timeout."""
        self.redis.answers_login = False
        self.begin()
        self.redis.advance(2.1)
        self.assertEqual(self.told, ["Redis does not answer within 2 s"])

    def test_what_is_asked_before_the_first_connection(self) -> None:
        """It waits for the connection, in order; but not once an attempt has failed."""
        self.client.start()
        self.addCleanup(self.client.stop)
        results = [self.client.execute(["GET", str(number)]) for number in range(2)]
        self.assertNoResult(results[0])
        self.turn()
        self.assertEqual(self.redis.take(), [[b"GET", b"0"], [b"GET", b"1"]])
        self.redis.send(b":1\r\n:2\r\n")
        self.assertEqual([self.successResultOf(result) for result in results], [1, 2])

    def test_without_a_first_connection(self) -> None:
        """What waits fails once the timeout has passed, or the login has failed."""
        self.redis.answers_login = False
        self.begin()
        waiting = self.client.subscribe(b"c", lambda data: None)
        self.redis.advance(2.1)
        self.error(waiting)
        self.error(self.client.execute(["PING"]))


class CommandTests(ClientCase):
    def setUp(self) -> None:
        super().setUp()
        self.begin()

    def test_pipelining(self) -> None:
        """Commands do not wait for the replies of others, and each gets its own."""
        results = [self.client.execute(["GET", str(number)]) for number in range(3)]
        self.assertEqual(self.redis.take(), [[b"GET", b"%d" % number] for number in range(3)])
        self.redis.send(b":0\r\n", b"-ERR x\r\n$1")
        self.assertEqual(self.successResultOf(results[0]), 0)
        self.assertEqual(self.failureResultOf(results[1], RedisReplyError).value.code, "ERR")
        self.assertNoResult(results[2])
        self.redis.send(b"\r\na\r\n")
        self.assertEqual(self.successResultOf(results[2]), b"a")

    def test_a_reply_that_does_not_come(self) -> None:
        """Each command has a limit; then all that wait fail, and the client connects again."""
        first = self.client.execute(["GET", "1"])
        self.redis.advance(1)
        second = self.client.execute(["GET", "2"])
        self.redis.send(b":1\r\n")
        self.assertEqual(self.successResultOf(first), 1)
        self.redis.advance(1.5)
        third = self.client.execute(["GET", "3"])
        self.assertNoResult(second)
        self.redis.advance(0.6)
        for result in (second, third):
            self.assertEqual(self.error(result), "Redis does not answer within 2 s")
        self.error(self.client.execute(["GET", "4"]))
        self.assertEqual(self.told[1:], ["Redis does not answer within 2 s"])
        self.redis.advance(1.1)
        self.assertEqual(self.told[2:], ["opened"])

    def test_limits_on_what_waits(self) -> None:
        """Beyond a number of commands or bytes, further ones fail and are not sent."""
        for limit, value in (("MOST_COMMANDS", 2), ("MOST_COMMAND_BYTES", 60)):
            with_limit = self.patch(connection, limit, value)
            kept = [self.client.execute(["GET", "12345678"]) for _ in range(2)]
            text = self.error(self.client.execute(["GET", "x"]), TooManyCommands)
            self.assertEqual(text, "2 commands wait for Redis already")
            self.assertEqual(len(self.redis.take()), 2)
            self.redis.send(OK * 2)
            for result in kept:
                self.successResultOf(result)
            with_limit.restore()

    def test_the_connection_is_lost(self) -> None:
        """Then all that wait fail, and further commands fail at once, until it is back."""
        waiting = self.client.execute(["GET", "1"])
        self.redis.is_down = True
        self.redis.reset()
        self.error(waiting)
        self.error(self.client.execute(["GET", "2"]))
        self.redis.is_down = False
        self.redis.advance(2.1)
        self.assertEqual(self.told[-1], "opened")
        self.assertEqual(self.redis.take(), [])  # nothing is sent again

    def test_another_primary(self) -> None:
        """A server that turns out to be a replica, or to be loading, is left."""
        for code in ("READONLY", "LOADING", "MASTERDOWN", "NOAUTH"):
            count = self.redis.connections
            result = self.client.execute(["SET", "a", "b"])
            self.redis.send(b"-%b no\r\n" % code.encode())
            self.failureResultOf(result, RedisReplyError)
            self.assertIn(f"({code})", self.told[-1])
            self.redis.advance(1.1)
            self.assertEqual(self.redis.connections, count + 1)

    def test_a_reply_without_a_command(self) -> None:
        """Nobody can tell what it belongs to, so the connection ends."""
        self.redis.send(OK)
        self.assertEqual(self.told[1:], ["Redis sent a reply without a command"])

    def test_what_is_not_redis(self) -> None:
        """Something else ends the connection."""
        waiting = self.client.execute(["GET", "1"])
        self.redis.send(b"HTTP/1.1 400 Bad Request\r\n")
        self.redis.advance(2.1)
        self.assertIn("this is not Redis", self.error(waiting))

    def test_a_script_that_is_not_known(self) -> None:
        """It is loaded again, and called once more. A second error is told."""
        result = self.client.run_script(CLOSE, (b"k",), ("a", 5))
        rest = [b"1", b"k", b"a", b"5"]
        self.assertEqual(self.redis.take(), [[b"EVALSHA", CLOSE.digest.encode(), *rest]])
        self.redis.send(b"-NOSCRIPT No matching script.\r\n")
        again = [b"EVALSHA", CLOSE.digest.encode(), *rest]
        self.assertEqual(self.redis.take(), [[b"SCRIPT", b"LOAD", CLOSE.text], again])
        self.redis.send(bulk(CLOSE.digest), b"-OOM no\r\n")
        self.assertEqual(self.failureResultOf(result, RedisReplyError).value.code, "OOM")
        self.assertEqual(self.redis.take(), [])

    def test_a_command_that_was_changed_on_its_way(self) -> None:
        """A connection on which Redis does not get what was sent is replaced."""
        for reply in (
            "DAMAGED the command was changed on its way",
            "ERR unknown command 'EVALSHB', with args beginning with: ",
            "ERR wrong number of arguments for 'evalsha' command",
            "ERR Protocol error: expected '$', got '%'",
        ):
            self.redis.advance(1.1)
            result = self.client.execute(["GET", "1"])
            other = self.client.execute(["GET", "2"])
            self.redis.send(b"-%b\r\n" % reply.encode())
            self.failureResultOf(result, RedisReplyError)
            self.error(other)
            self.assertNotEqual(self.told[-1], "opened")

    def test_a_script_with_seals(self) -> None:
        """A reply counts if its seal is right, and is that of this command."""
        ask = lambda: self.client.call(CLOSE, (b"k",), ("a", 5), list)  # noqa: E731
        result = ask()
        (command,) = self.redis.take()
        self.redis.send(sealed(command, "x", "7"))
        self.assertEqual(self.successResultOf(result), [b"x", b"7"])
        for reply in (
            sealed(command, "x", "7").replace(b"x", b"y"),
            sealed([b"of another command"], "x", "7"),
            b"*0\r\n",
            b":1\r\n",
            OK,
            b"%1\r\n+0\r\n+1\r\n",
        ):
            result = ask()
            self.redis.send(reply)
            self.assertEqual(self.error(result), "the reply about k was changed on its way")
            self.assertEqual(self.told[-1], "the reply about k was changed on its way")
            self.redis.advance(1.1)

    def test_a_reply_that_cannot_be_read(self) -> None:
        """What was put there by somebody else is an error, and the connection stays."""
        result = self.client.call(CLOSE, (b"k",), (), lambda reply: int(reply[0]))
        self.redis.send(sealed(self.redis.take()[0], "x"))
        text = self.error(result, StoreError)
        self.assertEqual(text, "what Redis has about k is not of this chat")
        self.assertIsNotNone(self.client.connection)

    def test_stopping(self) -> None:
        """After the stop, everything fails at once, and nothing is tried again."""
        self.client.stop()
        self.assertEqual(self.error(self.client.execute(["PING"])), "the store is closed")
        self.redis.advance(5)
        self.assertEqual(self.redis.connections, 1)


class ChannelTests(ClientCase):
    def setUp(self) -> None:
        super().setUp()
        self.begin()
        self.heard: list[bytes] = []

    def test_what_is_published(self) -> None:
        """It arrives between replies, and does not disturb them."""
        confirmed = self.client.subscribe(b"c", self.heard.append)
        result = self.client.execute(["GET", "1"])
        self.redis.send(published("c", "early"))
        self.assertNoResult(confirmed)
        self.redis.send(push("subscribe", "c", "1"), published("c", "1"), b":5\r\n")
        self.successResultOf(confirmed)
        self.assertEqual(self.successResultOf(result), 5)
        self.assertEqual(self.heard, [b"early", b"1"])
        self.assertRaises(ValueError, self.client.subscribe, b"c", self.heard.append)
        self.client.unsubscribe(b"c")
        self.client.unsubscribe(b"c")
        self.assertEqual(self.redis.take()[2:], [[b"UNSUBSCRIBE", b"c"]])
        self.redis.send(published("c", "late"), push("unsubscribe", "c", "0"))
        self.assertEqual(self.heard, [b"early", b"1"])

    def test_channels_that_were_not_asked_for(self) -> None:
        """What was changed on its way ends the connection: otherwise, messages would be missed."""
        self.client.subscribe(b"a", self.heard.append)
        self.redis.send(push("subscribe", "a", "1"))
        for wrong in (
            push("subscribe", "c", "1"),  # instead of b
            published("c", "x"),
            push("invalidate", "x"),
            push("message", "a"),
            push("message", "a", "unsealed"),
            published("a", "x").replace(b"x", b"y"),
            published("c", "x").replace(b"c", b"a"),
        ):
            self.client.subscribe(b"b", self.heard.append).addErrback(lambda _: None)
            count = self.redis.connections
            self.redis.send(wrong)
            self.assertIsNone(self.client.connection, wrong)
            self.redis.advance(1.1)
            self.assertEqual(self.redis.connections, count + 1)
            self.assertEqual(self.redis.take(), [[b"SUBSCRIBE", b"a"]])
            self.redis.send(push("subscribe", "a", "1"))
            self.assertIsNotNone(self.client.connection, wrong)
        self.assertEqual(self.heard, [])

    def test_a_channel_that_is_left_meanwhile(self) -> None:
        """What is left while the connection is made again is left once it is there."""
        self.client.subscribe(b"a", self.heard.append)
        self.redis.send(push("subscribe", "a", "1"))
        self.redis.reset()
        self.redis.advance(1.1)
        self.client.unsubscribe(b"a")
        self.redis.send(published("a", "x"), push("subscribe", "a", "1"), published("a", "x"))
        self.assertEqual(self.redis.take()[1:], [[b"UNSUBSCRIBE", b"a"]])
        self.redis.send(push("unsubscribe", "a", "0"))
        self.assertIsNotNone(self.client.connection)
        self.assertEqual(self.heard, [])

    def test_a_channel_that_is_refused(self) -> None:
        """The error is told, and nothing is called."""
        confirmed = self.client.subscribe(b"c", self.heard.append)
        self.redis.send(b"-NOPERM this user has no permissions\r\n")
        self.failureResultOf(confirmed, RedisReplyError)
        self.redis.send(published("c", "x"))
        self.assertEqual(self.heard, [])

    def test_after_a_reconnection(self) -> None:
        """Subscriptions are taken up before anything else is sent."""
        for channel in (b"a", b"b"):
            self.client.subscribe(channel, self.heard.append)
            self.redis.send(push("subscribe", channel, "1"))
        self.redis.reset()
        self.redis.advance(1.1)
        self.assertEqual(self.redis.take(), [[b"SUBSCRIBE", b"a", b"b"]])
        self.error(self.client.execute(["GET", "1"]))
        self.redis.send(push("subscribe", "a", "1"))
        self.assertEqual(self.told.count("opened"), 1)
        self.redis.send(push("subscribe", "b", "2"))
        self.assertEqual(self.told.count("opened"), 2)
        self.redis.send(published("b", "x"))
        self.assertEqual(self.heard, [b"x"])

    def test_a_reconnection_without_permission(self) -> None:
        """If a subscription is refused after it, the reason is told, and it is tried again."""
        self.client.subscribe(b"a", self.heard.append)
        self.redis.send(push("subscribe", "a", "1"))
        self.redis.reset()
        self.redis.advance(1.1)
        self.redis.send(b"-NOPERM no channel\r\n")
        self.assertIn("lacks a permission (NOPERM no channel)", self.told[-1])
        count = self.redis.connections
        self.redis.advance(1.1)
        self.assertEqual(self.redis.connections, count + 1)

    def test_a_handler_that_fails(self) -> None:
        """The failure is logged, and the connection stays."""
        self.client.subscribe(b"a", lambda data: 1 / 0)  # type: ignore[arg-type,return-value]
        self.redis.send(push("subscribe", "a", "1"), published("a", "x"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIsNotNone(self.client.connection)
