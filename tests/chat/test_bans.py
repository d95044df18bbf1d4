"""Tests of bans: of ranges, their list, and that they outlive the process."""

from __future__ import annotations

from typing import Any

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail
from twisted.logger import capturedLogs, eventAsText
from twisted.trial.unittest import SynchronousTestCase

from tests.chat.chat_peers import GREETING_DELAY, NOW, ChatCase, Program
from tests.chat.test_session import SessionCase
from tests.store.test_sqlite import LaterTurns
from twisted_net.chat import bans
from twisted_net.chat.actions import End, Enter, KeepBan
from twisted_net.chat.bans import Sanction, Sanctions
from twisted_net.chat.registry import User
from twisted_net.chat.session import Session
from twisted_net.store.interface import StoreError
from twisted_net.store.memory import MemoryStore
from twisted_net.store.sqlite import SqliteStore
from twisted_net.testing import Peer, connect_peer


class OperatorCase(SessionCase):
    """An operator, and guests with addresses."""

    def setUp(self) -> None:
        super().setUp()
        self.boss = self.session(host="198.51.100.1")
        self.boss.begin(NOW, "boss")
        self.boss.first_line(False, NOW)

    def orders(self, line: str, now: float = NOW) -> list[str]:
        return self.said(self.boss, line, now)

    def ends(self, line: str) -> list[User]:
        """Return whose connections an operator's line ends."""
        return [each.user for each in self.acts(self.boss, line) if isinstance(each, End)]

    def comes_in(self, host: str, account: str = "") -> bool:
        """Return whether somebody with this address is let in."""
        come: Session = self.session(host=host)
        actions = come.begin(NOW, account)
        come.end()
        return any(isinstance(each, Enter) for each in actions)


class RangeTests(OperatorCase):
    """Bans of addresses and of ranges."""

    def test_a_range(self) -> None:
        """Everybody in the range is closed and kept out, with an account or without one."""
        guest, account, other, boss = (
            self.enter(host=host) for host in ("192.0.2.7", "192.0.2.8", "192.0.3.1", "192.0.2.9")
        )
        account.login_succeeded("carol", NOW)
        boss.login_succeeded("boss", NOW)
        self.assertEqual(self.ends("/ban 192.0.2.0/24 5 spam"), [guest.user, account.user])
        for host, let in (("192.0.2.1", False), ("192.0.3.1", True), ("", True), ("a.host", True)):
            self.assertEqual(self.comes_in(host), let, host)
        self.assertFalse(self.comes_in("192.0.2.1", "carol"))
        self.assertTrue(self.comes_in("192.0.3.1", "carol"))
        self.assertIn(other.user, list(self.registry))

    def test_ranges_of_ipv6(self) -> None:
        """A range of IPv6 addresses is a /64 at least, and may be larger."""
        self.assertEqual(
            self.orders("/ban 2001:db8::1 9"), ["* 2001:db8::/64 is kept out for 9 minutes."]
        )
        self.orders("/ban 2001:db8:8::/48")
        for host, let in (
            ("2001:db8::ffff", False), ("2001:db8:0:1::1", True), ("2001:db8:8:1::1", False),
            ("2001:db8:9::1", True), ("::ffff:192.0.2.1", True),
        ):  # fmt: skip
            self.assertEqual(self.comes_in(host), let, host)
        self.assertEqual(self.orders("/unban 2001:db8::77"), ["* 2001:db8::/64 may come in again."])
        self.assertTrue(self.comes_in("2001:db8::ffff"))

    def test_mapped_addresses(self) -> None:
        """An IPv4 address is the same in IPv6's way to write it."""
        self.orders("/ban ::ffff:192.0.2.7")
        self.assertFalse(self.comes_in("192.0.2.7"))
        self.assertFalse(self.comes_in("::ffff:192.0.2.7"))

    def test_an_address_without_a_user(self) -> None:
        """An address is banned, and not the user of that name: nobody is called so."""
        self.assertEqual(self.orders("/ban 192.0.2.7"), ["* 192.0.2.7 is kept out for 60 minutes."])
        self.assertFalse(self.comes_in("192.0.2.7"))
        self.assertEqual(self.orders("/ban 192.0.2.9 1"), ["* 192.0.2.9 is kept out for 1 minute."])
        self.assertTrue(self.comes_in("192.0.2.8"))

    def test_what_is_no_range(self) -> None:
        """A range that is none is refused; a guess would ban others."""
        for text in ("192.0.2.7/24", "192.0.2.0/33", "192.0.2.256", "2001:db8::/200", "fe80::1%1",
                     "a/b", ":", "x" * 200 + "/"):  # fmt: skip
            said = f"! {text[:80]} is not an address, or a range such as 192.0.2.0/24."
            self.assertEqual(self.orders(f"/ban {text}"), [said])
            self.assertEqual(self.orders(f"/unban {text}"), [said])

    def test_ranges_that_nobody_may_ban(self) -> None:
        """This machine's addresses, and a range with the operator's own, are refused."""
        for text in ("127.0.0.1", "::1", "127.0.0.0/8"):
            (said,) = self.orders(f"/ban {text}")
            self.assertTrue(said.startswith("! "), said)
            self.assertTrue(said.endswith(" is this machine itself, so it is nobody's address."))
        for text in ("198.51.100.0/24", "0.0.0.0/0"):
            self.assertEqual(self.orders(f"/ban {text}"), [f"! Your own address is in {text}."])
        self.assertEqual(self.orders("/bans"), ["* Nobody is banned."])

    def test_ending_the_ban_of_an_address(self) -> None:
        """``/unban`` of an address ends the bans of people there, and says what remains."""
        eve = self.enter(host="192.0.2.7")
        self.said(eve, "/nick eve")
        self.orders("/ban eve")
        eve.end()
        self.orders("/ban 192.0.0.0/16")
        self.assertEqual(
            self.orders("/unban 192.0.2.7"), ["* 192.0.2.7 is still banned: see 192.0.0.0/16."]
        )
        self.assertEqual(self.orders("/unban 192.0.0.0/16"), ["* 192.0.0.0/16 may come in again."])
        self.assertTrue(self.comes_in("192.0.2.7"))
        self.assertEqual(self.orders("/unban 192.0.2.7"), ["* 192.0.2.7 was not banned."])
        self.assertEqual(self.orders("/bans"), ["* Nobody is banned."])


class ListTests(OperatorCase):
    """``/bans`` and ``/unban``."""

    def test_others_may_not(self) -> None:
        """Only operators see bans, and end them."""
        for line in ("/bans", "/unban eve", "/unban 192.0.2.7"):
            self.assertAnswer(line, "! Only operators may do that.")

    def test_the_list(self) -> None:
        """The list has each ban once, the last one first, until it ends or is lifted."""
        eve = self.enter(host="192.0.2.7")
        self.said(eve, "/nick eve")
        self.orders("/ban eve 10 spam and more")
        self.orders("/ban 203.0.113.0/24 20")
        self.orders("/ban mal 30", NOW + 1)
        self.assertEqual(
            "\n".join(self.orders("/bans", NOW + 1)).split("\n"),
            [
                "* mal, until 2023-11-14 22:43 UTC, by boss",
                "* 203.0.113.0/24, until 2023-11-14 22:33 UTC, by boss",
                "* eve, until 2023-11-14 22:23 UTC, by boss: spam and more",
            ],
        )
        self.assertEqual(len(self.orders("/bans", NOW + 700)[0].split("\n")), 2)
        self.assertEqual(self.orders("/unban MAL"), ["* mal may come in again."])
        self.assertEqual(self.orders("/unban mal"), ["* mal was not banned."])
        self.assertEqual(self.orders("/unban"), ["! Usage: /unban NAME"])
        self.assertEqual(self.orders("/bans", NOW + 9999), ["* Nobody is banned."])

    def test_a_long_list(self) -> None:
        """A text user sees the first ones, and how many there are more."""
        for number in range(60):
            self.orders(f"/ban name-{number}")
        (text,) = self.orders("/bans")
        lines = text.split("\n")
        self.assertEqual((len(lines), lines[-1]), (51, "* and 10 more"))

    def test_help(self) -> None:
        """The help for operators has the commands; that for others has not."""
        for who, count in ((self.boss, 1), (self.ann, 0)):
            text = "\n".join(self.said(who, "/help"))
            self.assertEqual(text.count("/unban NAME: end a ban"), count)
            self.assertEqual(text.count("/bans: list the bans"), count)

    def test_two_people_of_one_name(self) -> None:
        """A second ban of a name covers both who had it, and both end together."""
        first, second = (self.enter(host=host) for host in ("192.0.2.7", "192.0.2.8"))
        self.said(first, "/nick zed")
        self.orders("/ban zed 1")
        first.end()
        self.said(second, "/nick zed", NOW + 61)  # the first ban has ended
        self.orders("/ban zed")
        second.end()
        for host in ("192.0.2.7", "192.0.2.8"):
            self.assertFalse(self.comes_in(host))
        self.orders("/unban zed")
        for host in ("192.0.2.7", "192.0.2.8"):
            self.assertTrue(self.comes_in(host))

    def test_a_short_ban_does_not_end_a_long_one(self) -> None:
        """Who shares the address of somebody else that is banned for longer stays out."""
        eve, mal = self.enter(host="192.0.2.7"), self.enter(host="192.0.2.7")
        long, short = eve.user.name, mal.user.name
        self.orders(f"/ban {long} 100")
        self.orders(f"/ban {short} 1")
        eve.end(), mal.end()
        come = self.session(host="192.0.2.7")
        self.assertIsInstance(come.begin(NOW + 120)[-1], End)

    def test_who_was_banned_once_is_not_banned_again(self) -> None:
        """A ban of a name that has ended does not cover an address again with the next one."""
        eve = self.enter(host="192.0.2.7")
        self.said(eve, "/nick eve")
        self.orders("/ban eve 1")
        eve.end()
        later = NOW + 61
        self.orders("/ban eve 1", later)
        come = self.session(host="192.0.2.7")
        self.assertFalse(any(isinstance(each, End) for each in come.begin(later)))

    def test_a_banned_name_in_a_lookalike(self) -> None:
        """What looks like a banned name is banned as well."""
        self.orders("/ban alice 10")
        for name in ("alice", "aIice", "ALICE", "a1ice"):
            self.assertAnswer(f"/nick {name}", "! You are banned for 10 minutes more.")

    def test_a_banned_name_that_looks_like_others(self) -> None:
        """A name with a capital that looks like a small letter is banned as both."""
        self.orders("/ban aIice 10")
        for name in ("alice", "aIice", "aiice"):
            self.assertAnswer(f"/nick {name}", "! You are banned for 10 minutes more.")
        self.orders("/unban alice")
        self.assertAnswer("/nick alice", "* You are alice now.")

    def test_the_ban_of_a_name_is_that_of_the_account(self) -> None:
        """An account whose name is banned may not log in, and nobody is renamed for it."""
        self.said(self.bob, "/nick bob")
        self.orders("/ban b0b 10")
        (refused,) = self.ann.login_succeeded("bob", NOW)
        self.assertEqual(refused.event.code, "banned")  # type: ignore[union-attr]
        self.assertEqual((self.ann.user.account, self.ann.user.name), ("", "ann"))
        self.assertEqual(self.bob.user.name, "bob")
        come = self.session()  # with a certificate
        self.assertIsInstance(come.begin(NOW, "bob")[-1], End)

    def test_a_similar_name_that_is_banned(self) -> None:
        """An account that gets a similar name does not get one that is banned."""
        self.orders("/ban bob-2 10")
        self.ann.login_succeeded("bob", NOW)
        self.bob.login_succeeded("bob", NOW)
        self.assertEqual((self.ann.user.name, self.bob.user.name), ("bob", "bob-3"))

    def test_a_mute_does_not_end_another(self) -> None:
        """A mute of a second user of a name leaves the first one's."""
        self.orders("/mute ann 1")
        self.said(self.ann, "/nick zoe")
        self.said(self.bob, "/nick ann")
        self.orders("/mute ann 1")
        answer = ["! You may speak again in 60 seconds."]
        self.assertEqual([self.said(self.ann, "x"), self.said(self.bob, "x")], [answer, answer])


class SanctionsTests(SynchronousTestCase):
    """The table of bans."""

    def test_it_is_bounded(self) -> None:
        """The oldest are dropped, and their keys are told so that the store drops them too."""
        table = Sanctions()
        dropped = []
        for number in range(10_050):
            dropped += table.add(Sanction(str(number), (f"name {number}",), NOW), NOW)[1]
        self.assertEqual([each.key for each in dropped], [f"name {n}" for n in range(50)])
        self.assertEqual(len(table.current(0.0)), 10_000)

    def test_as_text(self) -> None:
        """A ban survives being written and read; anything else is refused."""
        ban = Sanction("Zoë", ("name zoë", "host 192.0.2.7"), NOW, "boss", "why\u2028")
        self.assertEqual(Sanction.from_json(ban.to_json()), ban)
        for text in (
            "", "[]", "{}", "1", '{"target": "x"}', '{"target":"x","marks":[],"until":1}',
            '{"target":"x","marks":["a"],"until":"y"}', '{"target":"x","marks":1,"until":1}',
            '{"target":"x","marks":["range y"],"until":1}',
            '{"target":"x","marks":["a"],"until":1,"more":2}',
            '{"target":"x","marks":["a"],"until":1e400}',
            '{"target":"x","marks":["a"],"until":NaN}',
        ):  # fmt: skip
            self.assertRaises(ValueError, Sanction.from_json, text)

    def test_many_ranges_cost_little(self) -> None:
        """Looking up an address that is in no range does not look at each range."""
        table = Sanctions()
        for number in range(200):
            key = bans.range_key(bans.range_of(f"10.{number}.0.0/16"))  # type: ignore[arg-type]
            table.add(Sanction("x", (key,), NOW), NOW)
        self.patch(bans, "is_in", None)
        self.assertEqual(table.of_address("192.0.2.7"), [])


def address(host: str) -> IPv4Address:
    return IPv4Address("TCP", host, 1)


class RestartTests(ChatCase):
    """Bans outlive the process with a store that does."""

    def setUp(self) -> None:
        self.path = self.mktemp()
        self.time = NOW
        super().setUp()

    def make(self, **settings: Any) -> Any:
        self.worker = LaterTurns()
        self.store = settings.pop("store", None) or SqliteStore(
            *(self.path, self.clock, lambda: self.worker, lambda: self.time, lambda: "epoch")
        )
        checker = InMemoryUsernamePasswordDatabaseDontUse(boss=b"secret")
        factory = super().make(
            store=self.store, checkers=[checker], operators=["boss"], plain_logins=True, **settings
        )
        factory.now = lambda: self.time
        factory._stored_bans._now = factory.now
        factory.start_store()
        return factory

    def work(self) -> None:
        for _ in range(4):
            self.clock.advance(0)
            self.worker.work()

    def restart(self) -> None:
        stopped = self.factory.stop_store()
        self.work()
        self.successResultOf(stopped)
        self.factory = self.make()

    def operator(self) -> Peer:
        boss = connect_peer(self.factory, peer=address("203.0.113.1"))
        boss.send(b"/login boss secret\n")
        self.work()
        boss.take()
        return boss

    def orders(self, line: str) -> str:
        """Return the last line of the answer to an operator's line."""
        boss = self.operator()
        boss.send(line.encode() + b"\n")
        self.work()
        answer = boss.take().decode().splitlines()[-1]
        boss.reset()
        return answer

    def comes_in(self, host: str) -> bool:
        peer = connect_peer(self.factory, peer=address(host))
        self.clock.advance(GREETING_DELAY)
        self.work()
        said = peer.take()
        peer.reset()
        return b"You are banned" not in said

    def stop(self) -> None:
        stopped = self.factory.stop_store()
        self.work()
        self.successResultOf(stopped)

    def test_a_ban_outlives_the_process(self) -> None:
        """Names, addresses and ranges are banned after a restart, until they are lifted."""
        self.addCleanup(self.stop)
        eve = connect_peer(self.factory, peer=address("192.0.2.7"))
        eve.send(b"/nick eve\n")
        self.orders("/ban eve 10 spam")
        self.orders("/ban 198.51.100.0/24 10")
        self.orders("/ban mal 10")
        self.orders("/unban mal")
        self.restart()
        self.work()
        for host, let in (("192.0.2.7", False), ("198.51.100.9", False), ("192.0.2.8", True)):
            self.assertEqual(self.comes_in(host), let, host)
        listed = "* eve, until 2023-11-14 22:23 UTC, by boss: spam"
        self.assertEqual(self.orders("/bans"), listed)
        self.assertEqual(self.orders("/unban eve"), "* eve may come in again.")
        self.restart()
        self.work()
        self.assertTrue(self.comes_in("192.0.2.7"))
        self.assertFalse(self.comes_in("198.51.100.9"))

    def test_a_ban_ends_while_the_process_is_away(self) -> None:
        """A ban that has ended is deleted from the store."""
        self.addCleanup(self.stop)
        self.orders("/ban eve 10")
        self.time += 601
        self.restart()
        self.work()
        self.time -= 601
        self.restart()
        self.work()
        self.assertEqual(self.orders("/bans"), "* Nobody is banned.")

    def test_who_is_faster_than_the_store(self) -> None:
        """Who came in before the store had given the bans is closed then; others stay."""
        self.addCleanup(self.stop)
        self.orders("/ban 192.0.2.0/24 10")
        self.restart()
        fast = connect_peer(self.factory, peer=address("192.0.2.7"))
        other = connect_peer(self.factory, peer=address("192.0.3.7"))
        self.clock.advance(GREETING_DELAY)
        self.assertIn(b"Welcome", fast.take())
        self.work()
        self.assertIn(b"! You are banned for 10 minutes more.\n", fast.take())
        self.assertEqual(fast.protocol.reason.code, "closed")
        self.assertNotIn(b"banned", other.take())

    def test_a_damaged_ban(self) -> None:
        """A ban in the store that cannot be read is logged, and the others hold."""
        self.addCleanup(self.stop)
        self.orders("/ban 192.0.2.7 10")
        self.store.put("ban", "name x", "{")
        self.work()
        with capturedLogs() as events:
            self.restart()
            self.work()
        logged = [eventAsText(each) for each in events]
        self.assertEqual(sum("'name x', which is not a ban" in each for each in logged), 1, logged)
        self.assertFalse(self.comes_in("192.0.2.7"))

    def test_a_store_that_fails(self) -> None:
        """The operator is told when a ban cannot be kept. It holds until the process ends."""
        self.addCleanup(self.stop)

        def put(kind: str, key: str, value: str | None) -> Deferred[None]:
            return fail(StoreError("the disk is full"))

        self.patch(self.store, "put", put)
        boss = self.operator()
        with capturedLogs() as events:
            boss.send(b"/ban 192.0.2.7\n")
        why = "This ends with the server's process, for it cannot be kept: the disk is full."
        expected = [f"! {why}", "* 192.0.2.7 is kept out for 60 minutes."]
        self.assertEqual(boss.take().decode().splitlines(), expected)
        self.assertFalse(self.comes_in("192.0.2.7"))
        logged = "\n".join(map(eventAsText, events))
        self.assertIn("The bans cannot be written: the disk is full", logged)

    def test_a_store_of_messages_alone(self) -> None:
        """With a store that keeps only messages, bans hold until the process ends."""
        self.stop()
        self.factory = self.make(store=_Only(MemoryStore(lambda: NOW, lambda: "epoch")))
        self.orders("/ban 192.0.2.7")
        self.assertFalse(self.comes_in("192.0.2.7"))

    def test_programs(self) -> None:
        """Programs of operators ban ranges, list the bans and lift them."""
        self.addCleanup(self.stop)
        boss = Program(connect_peer(self.factory, peer=address("203.0.113.1")))
        boss.send(type="hello", user="boss", password="secret")
        self.work()
        boss.heard()
        boss.asks(type="ban", nick="192.0.2.0/24", minutes=1.0, text="spam")
        (listed,) = boss.asks(type="bans")
        ban = {
            "nick": "192.0.2.0/24",
            "until": "2023-11-14T22:14:20.000Z",
            "from": "boss",
            "text": "spam",
        }
        self.assertEqual(listed, {"type": "bans", "bans": [ban], "count": 1})
        (told,) = boss.asks(type="unban", nick="192.0.2.0/24")
        self.assertEqual(told["text"], "192.0.2.0/24 may come in again.")
        (error,) = boss.asks(type="ban", nick="192.0.2.1/24")
        self.assertEqual((error["code"], error["field"]), ("bad-field", "nick"))
        self.assertEqual(boss.asks(type="bans"), [{"type": "bans", "bans": [], "count": 0}])


class _Only:
    """A store without what a store may do without."""

    def __init__(self, store: MemoryStore) -> None:
        self.start, self.stop = store.start, store.stop
        self.append, self.since, self.before = store.append, store.since, store.before
        self.subscribe, self.unsubscribe = store.subscribe, store.unsubscribe


class KeptTests(OperatorCase):
    """What the session asks to keep."""

    def test_what_is_kept(self) -> None:
        """A ban is kept, and one that is lifted is forgotten."""
        (kept, _) = self.acts(self.boss, "/ban eve 10 why")
        expected = Sanction("eve", ("name eve",), NOW + 600, "boss", "why")
        self.assertEqual(kept, KeepBan(self.boss.user, "name eve", expected))
        (gone, _) = self.acts(self.boss, "/unban eve")
        self.assertEqual(gone, KeepBan(self.boss.user, "name eve", None))
