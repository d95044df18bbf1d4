"""Tests of the ``--config`` file that is read again: ``live_flags`` and ``config_reloader``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.logger import LogLevel, capturedLogs, formatEvent

from tests.services.test_options import SERVICES
from tests.services.test_services import ServiceCase
from twisted_net.policy.limits import OverflowPolicy
from twisted_net.services import chat, echo, idle, starting
from twisted_net.services.live_flags import LIVE_FLAGS, RESTART_FLAGS, ReloadError
from twisted_net.testing import Peer, connect_peer

_GOOD, _BAD = "198.51.100.7", "192.0.2.66"


class ReloadCase(ServiceCase):
    """A service that runs with a file."""

    def write(self, *lines: str) -> None:
        Path(self.path).write_text("\n".join(lines) + "\n")

    def run_service(self, module: Any, *lines: str, more: tuple[str, ...] = ()) -> Any:
        """Start a service with these lines in its file; return it."""
        self.path = self.mktemp()
        self.write(*lines)
        self.service = self.made(module, "--config", self.path, *more)
        self.service.startService()
        self.addCleanup(self.service.stopService)
        return self.service

    def reload(self, *lines: str) -> str:
        """Write other lines and reload; return what is said about it, without the file's name."""
        self.write(*lines)
        before = f"{self.service.command}: {self.path}: "
        told = str(self.service.reload("test"))
        self.assertTrue(told.startswith(before), told)
        return told.removeprefix(before)

    def peer(self, host: str = _GOOD) -> Peer:
        return connect_peer(
            self.service.factory, clock=self.reactor, peer=IPv4Address("TCP", host, 4000)
        )


class TableTests(ServiceCase):
    def test_every_flag_is_in_one_table(self) -> None:
        """A new flag must say whether a running service obeys it."""
        found: set[str] = set()
        for service in SERVICES:
            known = service.Options().known_flags()
            found |= {*known.values, *known.switches}
        self.assertEqual(found, LIVE_FLAGS | RESTART_FLAGS)
        self.assertEqual(LIVE_FLAGS & RESTART_FLAGS, set())


class ChangeTests(ReloadCase):
    """What a running service obeys."""

    def test_limits(self) -> None:
        """Each limit of every service changes, and each is in the line."""
        for module, more in (
            (echo, ()),
            (idle, ()),
            (idle, ("--upstream", "tcp:127.0.0.1:1")),
            (chat, ()),
        ):
            service = self.run_service(module, "idle-timeout = 60", more=more)
            told = self.reload(
                *("idle-timeout = 30", "message-timeout = 2.5", "handshake-timeout = 4"),
                *("max-message = 99", "rate = 5", "burst = 6", "queue-limit = 777"),
                *("slow = drop-oldest", "memory-budget = 1000", "max-connections = 8"),
                *("max-per-address = 9", "accept-rate = 7", "drain = 1", "log-ends = notable"),
            )
            factory = service.factory
            limits, rules = factory.limits, factory.admission.rules
            self.assertEqual(
                (limits.idle_timeout, limits.message_timeout, limits.handshake_timeout),
                (30, 2.5, 4),
            )
            self.assertEqual((limits.max_message, limits.rate, limits.burst), (99, 5, 6))
            self.assertEqual(
                (limits.queue_limit, limits.overflow_policy), (777, OverflowPolicy.DROP_OLDEST)
            )
            self.assertTrue(factory.budget.charge("anybody", 1001))
            self.assertEqual(
                (rules.max_connections, rules.max_per_address, rules.accept_rate), (8, 9, 7)
            )
            self.assertEqual((service.drain, factory.log_ends), (1, False))
            text = MAX_MESSAGES.get(module, "65536")
            self.assertEqual(
                told,
                "changed: accept-rate 0 -> 7, burst 20 -> 6, drain 10 -> 1,"
                " handshake-timeout 10 -> 4, idle-timeout 60 -> 30, log-ends all -> notable,"
                f" max-connections default -> 8, max-message {text} -> 99,"
                " max-per-address 0 -> 9, memory-budget 0 -> 1000, message-timeout 30 -> 2.5,"
                " queue-limit 1048576 -> 777, rate 0 -> 5, slow close -> drop-oldest",
            )

    def test_the_upstream_side(self) -> None:
        """It has the same limits, without those of silence and of the rate."""
        service = self.run_service(idle, more=("--upstream", "tcp:127.0.0.1:1"))
        self.reload("queue-limit = 5", "idle-timeout = 3", "rate = 1", "log-ends = notable")
        upstream = service.factory.upstream_factory
        limits = upstream.limits
        self.assertEqual((limits.queue_limit, limits.idle_timeout, limits.rate), (5, 0, 0))
        self.assertFalse(upstream.log_ends)

    def test_the_chat(self) -> None:
        """Its limits, and those of its pages."""
        service = self.run_service(chat)
        told = self.reload(
            *("history = 7", "heartbeat = 9", "login-timeout = 8", "joins = 1", "nicks = 2"),
            *("topics = 3", "new-rooms = 4", "queue-limit = 50", "reserve = Bob", "reserve = ann"),
            "operator = Eve",
        )
        limits = service.factory.chat_limits
        self.assertEqual((limits.history, limits.heartbeat, limits.login_timeout), (7, 9, 8))
        self.assertEqual((limits.joins, limits.nicks, limits.topics), (1, 2, 3))
        self.assertEqual(limits.new_rooms, 4)
        registry = service.factory.registry
        self.assertEqual(registry.operators, {"eve"})
        self.assertEqual([registry.reserved_for(each) for each in ("bob", "ann")], ["bob", "ann"])
        self.assertIn("operator +Eve, queue-limit 1048576 -> 50, reserve +Bob +ann, topics", told)

    def test_the_log_level(self) -> None:
        """It is set, and set again; without a change, an operator's stays."""
        levels: list[LogLevel] = []
        self.patch(starting, "set_log_level", levels.append)
        self.run_service(echo, "log-level = warn")
        self.reactor.advance(0)
        self.assertEqual(self.reload("log-level = error"), "changed: log-level warn -> error")
        self.reload("log-level = error", "rate = 3")
        self.assertEqual(set(levels), {LogLevel.warn, LogLevel.error})
        self.assertIs(levels[-1], LogLevel.error)
        del levels[:]
        self.reload("rate = 4")
        self.assertEqual(levels, [LogLevel.debug])

    def test_ranges(self) -> None:
        """Who is connected stays. What operators have denied meanwhile stays denied."""
        self.run_service(echo, "deny = 10.0.0.0/8", "deny = 203.0.113.0/24")
        bad = self.peer(_BAD)
        admission = self.service.factory.admission
        admission.denied.add("2001:db8::/32")  # as an operator does
        admission.denied.remove("10.0.0.0/8")
        told = self.reload("deny = 192.0.2.0/24", "deny = 203.0.113.0/24")
        self.assertEqual(told, "changed: deny -10.0.0.0/8 +192.0.2.0/24")
        self.assertRaises(ConnectionRefusedError, self.peer, _BAD)
        self.assertTrue(bad.connected)
        self.assertEqual(
            list(map(str, admission.denied)), ["192.0.2.0/24", "203.0.113.0/24", "2001:db8::/32"]
        )
        self.assertEqual(self.reload(f"allow = {_GOOD}"), ANY_TO_ONE)
        self.assertTrue(self.peer(_GOOD).connected)
        self.assertRaises(ConnectionRefusedError, self.peer, "203.0.113.9")

    def test_an_order_that_says_nothing(self) -> None:
        self.run_service(chat, "deny = 10.0.0.0/8,192.0.2.0/24", "operator = a", "operator = b")
        lines = "operator = b", "deny = 192.0.2.0/24", "operator = a", "deny = 10.0.0.0/8"
        self.assertEqual(self.reload(*lines), "nothing has changed")

    def test_open_connections(self) -> None:
        """They have the new idle timeout at once."""
        self.run_service(echo)
        peer = self.peer()
        self.reload("idle-timeout = 5")
        peer.advance(4)
        self.assertIsNone(peer.protocol.reason)
        peer.advance(3)
        self.assertEqual(peer.protocol.reason.code, "idle")

    def test_rates_that_did_not_change(self) -> None:
        """Another change does not give a fast address a new burst."""
        self.run_service(echo, "accept-rate = 1")
        for _ in range(20):
            self.peer()
        self.assertRaises(ConnectionRefusedError, self.peer)
        self.reload("accept-rate = 1", "max-per-address = 100", "idle-timeout = 5")
        self.assertRaises(ConnectionRefusedError, self.peer)


class FileTests(ReloadCase):
    """The file and the command line."""

    def test_nothing_has_changed(self) -> None:
        """Neither by other spellings of the same values."""
        service = self.run_service(echo, "idle-timeout = 60", "max-message = 100")
        limits, rules = service.factory.limits, service.factory.admission.rules
        told = self.reload("# a comment", "max-message = 0100", "idle-timeout = 60.0")
        self.assertEqual(told, "nothing has changed")
        self.assertEqual((service.factory.limits, service.factory.admission.rules), (limits, rules))

    def test_the_command_line_wins(self) -> None:
        """As at the start."""
        service = self.run_service(echo, "rate = 1", more=("--idle-timeout", "7"))
        self.assertEqual(self.reload("idle-timeout = 3"), "changed: rate 1 -> 0")
        self.assertEqual(service.factory.limits.idle_timeout, 7)

    def test_back_to_the_default(self) -> None:
        """A line that is gone is the default again, and the next time shows what is new."""
        service = self.run_service(echo, "rate = 1")
        self.assertEqual(self.reload("rate = 2"), "changed: rate 1 -> 2")
        self.assertEqual(self.reload(), "changed: rate 2 -> 0")
        self.assertEqual(self.reload(), "nothing has changed")
        self.assertEqual(service.factory.limits.rate, 0)

    def test_what_needs_a_restart(self) -> None:
        """It is named each time, without its value, which may be secret. The rest is obeyed."""
        service = self.run_service(chat)
        lines = (
            *("store = memory:?count=5", "port = 99", "no-web = yes", "origin = https://a.example"),
            *("log-format = json", "keepalive = 4", "rate = 2"),
        )
        waiting = "need a restart: keepalive, log-format, no-web, origin, port, store"
        self.assertEqual(self.reload(*lines), f"changed: rate 0 -> 2; {waiting}")
        self.assertEqual(self.reload(*lines), waiting)
        self.assertEqual(service.factory.limits.rate, 2)

    def test_bad_files(self) -> None:
        """Nothing changes, and one line names the file, the line, the flag and the reason."""
        service = self.run_service(chat, "rate = 1")
        factory = service.factory
        for line, why in (
            ("portt = 1", "line 2: portt: unknown flag; did you mean port?"),
            ("idle-timeout = soon", "line 2: idle-timeout soon: must be"),
            ("heartbeat = 0", "line 2: heartbeat 0"),
            ("deny = x", "line 2: deny: 'x' is not an address range"),
            ("cert = c.pem", "line 2: cert c.pem: requires --tls-port"),
            ("auth = file:/nonexistent/x", "line 2: auth file: /nonexistent/x: No such file"),
            ("reserve = a b", "line 2: reserve a b: "),
            ("log-level = loud", "line 2: log-level loud: must be debug, info, warn, error or "),
            ("help = yes", "line 2: help: only on the command line"),
        ):
            with capturedLogs() as events:
                self.write("rate = 7", line)
                error = self.assertRaises(ReloadError, service.reload, "SIGHUP")
            self.assertTrue(str(error).startswith(f"netchat: {self.path}, {why}"), error)
            self.assertEqual(
                [formatEvent(each) for each in events], [f"SIGHUP: {error}; nothing has changed"]
            )
            self.assertEqual((factory.limits.rate, list(factory.admission.denied)), (1, []))
        self.assertEqual(self.reload("rate = 7"), "changed: rate 1 -> 7")

    def test_a_file_that_is_gone(self) -> None:
        service = self.run_service(echo, "rate = 1")
        Path(self.path).unlink()
        error = self.assertRaises(ReloadError, service.reload, "SIGHUP")
        self.assertEqual(str(error), f"netecho: --config {self.path}: No such file or directory")
        self.assertEqual(service.factory.limits.rate, 1)

    def test_another_directory(self) -> None:
        """The file is found when the process works in another directory, as after a change of
        twistd's ``--rundir``."""
        import os

        service = self.run_service(echo, "rate = 1")
        here, there = os.getcwd(), self.mktemp()
        os.mkdir(there)
        self.write("rate = 2")
        os.chdir(there)
        self.addCleanup(os.chdir, here)
        service.reload("SIGHUP")
        self.assertEqual(service.factory.limits.rate, 2)

    def test_accounts_stay_open(self) -> None:
        """A password file that is named already is not opened again."""
        accounts = Path(self.mktemp())
        accounts.write_text("")
        self.run_service(chat, f"auth = file:{accounts}")
        accounts.unlink()  # as it is in another root, or for another user
        self.assertEqual(self.reload(f"auth = file:{accounts}", "rate = 1"), "changed: rate 0 -> 1")

    def test_without_a_file(self) -> None:
        """There is nothing but the certificates."""
        service = self.made(echo)
        self.assertRaises(ReloadError, service.reload, "test")  # it does not run
        service.startService()
        self.addCleanup(service.stopService)
        self.assertEqual(service.reload("x"), "there are no certificate files to read again")


MAX_MESSAGES = {chat: "8192"}

ANY_TO_ONE = f"changed: allow +{_GOOD}/32, deny -192.0.2.0/24 -203.0.113.0/24"
