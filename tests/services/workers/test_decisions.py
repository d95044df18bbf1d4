"""Tests for the pure parts of :mod:`twisted_net.services.workers`."""

from __future__ import annotations

import json
import os
import resource
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from twisted_net.endpoints.listening import Listener
from twisted_net.policy.admission import AdmissionRules
from twisted_net.policy.backoff import Backoff
from twisted_net.policy.close_reasons import FULL, TOO_MANY
from twisted_net.services.echo import Options
from twisted_net.services.starting import StartError
from twisted_net.services.workers.deaths import MOST_QUICK_DEATHS, QUICK, Deaths
from twisted_net.services.workers.handoff import ADMITTED, LEFT_TO_WORKER, Decision
from twisted_net.services.workers.making import check_same_listeners, make_supervisor
from twisted_net.services.workers.numbers import available_cpus, parse_workers
from twisted_net.services.workers.privileges import keep_privileges, twistd_flags
from twisted_net.services.workers.program import twistd_arguments
from twisted_net.services.workers.rotation import Rotation
from twisted_net.services.workers.settings import WorkerSettings, read_settings, write_settings
from twisted_net.services.workers.shared_admission import SharedAdmission, share_of
from twisted_net.services.workers.spawning import LineSplitter, worker_environment


class NumberTests(SynchronousTestCase):
    def test_numbers(self) -> None:
        """A number is itself."""
        self.assertEqual([parse_workers(each) for each in ("1", "8", "1024")], [1, 8, 1024])

    def test_auto(self) -> None:
        """``auto`` is what this process may use, and not what the machine has."""
        with patch.object(os, "sched_getaffinity", lambda pid: {3, 5, 6}):
            self.assertEqual(parse_workers("auto"), 3)
            self.assertEqual(available_cpus(), 3)

    def test_wrong(self) -> None:
        """Anything else says what may be given."""
        for text in ("0", "-1", "1025", "x", "", "1.0", "AUTO"):
            error = self.assertRaises(ValueError, parse_workers, text)
            self.assertTrue(str(error).endswith(", or auto"), str(error))


class DeathTests(SynchronousTestCase):
    def test_growing_delays(self) -> None:
        """Each quick death makes the next delay longer."""
        deaths = Deaths(Backoff(first=1, longest=100))
        delays = [deaths.died(0.1, 1.0) for _ in range(MOST_QUICK_DEATHS - 1)]
        self.assertEqual(delays, [4.0, 8.0, 16.0, 32.0])

    def test_a_crash_loop(self) -> None:
        """Too many quick deaths in a row are the end."""
        deaths = Deaths()
        delays = [deaths.died(QUICK / 2, 0.0) for _ in range(MOST_QUICK_DEATHS)]
        self.assertEqual([each is None for each in delays], [False] * 4 + [True])

    def test_a_long_life(self) -> None:
        """Who dies after a while, or lives on, ends the row."""
        deaths = Deaths(Backoff(first=1, longest=100))
        for _ in range(3):
            for _ in range(MOST_QUICK_DEATHS - 1):
                self.assertIsNotNone(deaths.died(1.0, 0.5))
            self.assertEqual(deaths.died(QUICK, 1.0), 2.0)
        for _ in range(3):
            for _ in range(MOST_QUICK_DEATHS - 1):
                self.assertIsNotNone(deaths.died(1.0, 0.5))
            deaths.survived()


class RotationTests(SynchronousTestCase):
    def chosen(self, rotation: Rotation[str], workers: list[str], count: int) -> str:
        return "".join(next(rotation.candidates(workers)) for _ in range(count))

    def test_each_in_turn(self) -> None:
        """All get the same number."""
        rotation: Rotation[str] = Rotation(lambda _: True)
        self.assertEqual(self.chosen(rotation, ["a", "b", "c"], 7), "abcabca")

    def test_some_may_not(self) -> None:
        """Those that may not are passed over."""
        rotation: Rotation[str] = Rotation(lambda worker: worker != "b")
        self.assertEqual(self.chosen(rotation, ["a", "b", "c"], 4), "acac")
        none: Rotation[str] = Rotation(lambda _: False)
        self.assertEqual(list(none.candidates(["a", "b"])), [])
        self.assertEqual(list(none.candidates([])), [])

    def test_who_has_no_room(self) -> None:
        """The others are offered it, each once; the turn goes on behind the one that took it."""
        rotation: Rotation[str] = Rotation(lambda _: True)
        self.assertEqual(list(rotation.candidates(["a", "b", "c"])), ["a", "b", "c"])
        candidates = rotation.candidates(["a", "b", "c"])
        self.assertEqual([next(candidates), next(candidates)], ["a", "b"])
        self.assertEqual(self.chosen(rotation, ["a", "b", "c"], 2), "ca")

    def test_fewer_workers(self) -> None:
        """A worker may be gone the next time."""
        rotation: Rotation[str] = Rotation(lambda _: True)
        self.chosen(rotation, ["a", "b", "c"], 2)
        self.assertEqual(self.chosen(rotation, ["a"], 2), "aa")


class SharedAdmissionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.left: list[str | None] = []
        self.admission = SharedAdmission(AdmissionRules(max_connections=1), 4, self.left.append)

    def admit(self, decision: Decision, address: str | None) -> Any:
        self.admission.decide(decision)
        reason = self.admission.admit(address, 0.0)
        self.admission.settle(address)
        return reason

    def test_what_the_supervisor_says(self) -> None:
        """It holds, whatever this process would say, and it is told who has left."""
        for address in ("10.0.0.1", "10.0.0.1", None):
            self.assertIsNone(self.admit(ADMITTED, address))
        self.assertIs(self.admit(Decision(refusal=FULL), "10.0.0.2"), FULL)
        self.assertEqual(self.admission.refused["full"], 1)
        self.assertEqual(self.left, [])
        for address in ("10.0.0.1", None, "10.0.0.1"):
            self.admission.leave(address)
        self.assertEqual(self.left, ["10.0.0.1", None, "10.0.0.1"])
        self.assertRaises(ValueError, self.admission.leave, "10.0.0.1")

    def test_what_it_does_not_say(self) -> None:
        """This process decides, and counts by itself."""
        self.assertIsNone(self.admit(LEFT_TO_WORKER, "10.0.0.1"))
        self.assertIs(self.admit(LEFT_TO_WORKER, "10.0.0.1"), FULL)
        self.admission.leave("10.0.0.1")
        self.assertIsNone(self.admit(LEFT_TO_WORKER, "10.0.0.1"))
        self.assertEqual(self.left, [])

    def test_nobody_has_asked(self) -> None:
        """A connection that was admitted, but never made, has left at once."""
        self.admission.decide(ADMITTED)
        self.admission.settle("10.0.0.1")
        self.assertEqual(self.left, ["10.0.0.1"])
        self.admission.decide(Decision(refusal=TOO_MANY))
        self.admission.settle("10.0.0.1")
        self.assertEqual(self.left, ["10.0.0.1"])

    def test_proxies(self) -> None:
        """They are admitted here, and their clients are counted here."""
        self.admission.decide(LEFT_TO_WORKER)
        self.assertIsNone(self.admission.admit_proxy("10.0.0.9"))
        self.assertIs(self.admission.admit_proxy("10.0.0.9"), FULL)
        self.assertIsNone(self.admission.move("exempt", "10.0.0.1", 0.0))
        self.admission.leave("10.0.0.1")
        self.assertEqual((self.admission.open, self.left), (0, []))

    def test_an_upgrade(self) -> None:
        """The new process knows whom the supervisor has admitted; the old one keeps what stays."""
        for address in ("10.0.0.1", "10.0.0.1", None, "10.0.0.2"):
            self.admit(ADMITTED, address)
        self.admit(LEFT_TO_WORKER, "10.0.0.3")
        state = json.loads(json.dumps(self.admission.export_state(0.0)))
        left: list[str | None] = []
        new = SharedAdmission(AdmissionRules(max_connections=1), 4, left.append)
        new.restore_state(state, 5.0)
        for address in ("10.0.0.1", None, "10.0.0.3"):
            new.count_moved(address)
        self.assertEqual(new.open, 1, "those of the supervisor are not counted here")
        for address in ("10.0.0.1", None, "10.0.0.3"):
            new.leave(address)
        self.assertEqual((left, new.open), (["10.0.0.1", None], 0))
        self.assertEqual(
            sorted(self.admission.keep(["10.0.0.2", "10.0.0.1", "10.0.0.7"]), key=str),
            ["10.0.0.1", "10.0.0.2"],
        )
        self.admission.leave("10.0.0.2")
        self.assertEqual(self.left, ["10.0.0.2"])

    def test_changes(self) -> None:
        """New numbers are divided as the first ones were."""
        self.admission.change(max_connections=10, accept_rate=2, ban=7)
        rules = self.admission.rules
        self.assertEqual((rules.max_connections, rules.accept_rate, rules.ban), (3, 0.5, 7))

    def test_shares(self) -> None:
        """Numbers are divided and rounded up; no limit stays no limit."""
        rules = AdmissionRules(max_connections=10, max_per_address=3, accept_rate=2, accept_burst=6)
        self.assertEqual(
            share_of(rules, 4),
            AdmissionRules(max_connections=3, max_per_address=1, accept_rate=0.5, accept_burst=2),
        )
        self.assertEqual(share_of(AdmissionRules(), 4), replace(AdmissionRules(), accept_burst=5))


class SettingsTests(SynchronousTestCase):
    def test_there_and_back(self) -> None:
        """A worker reads what the supervisor has written."""
        settings = WorkerSettings(
            2, 4, "netecho", ("--port", "0", "--deny=ü"), ("--uid=1",), "ab" * 80, ("cert", "key")
        )
        self.assertEqual(read_settings(write_settings(settings)), settings)
        succeeding = replace(settings, succeeds=True, listeners=("--port 80", "--listen unix:x"))
        self.assertEqual(read_settings(write_settings(succeeding)), succeeding)
        plain = WorkerSettings(1, 1, "netidle", ())
        self.assertEqual(read_settings(write_settings(plain)), plain)

    def test_too_long(self) -> None:
        """A command line that does not fit into a pipe is an error, and nothing hangs."""
        settings = WorkerSettings(1, 1, "netecho", ("x" * (1 << 21),))
        self.assertRaises(OSError, write_settings, settings)

    def test_the_command_line(self) -> None:
        """A worker runs twistd in the foreground, without a pid file, with the same flags."""
        settings = WorkerSettings(1, 2, "netecho", ("--port", "80"), ("--uid=1",))
        words = twistd_arguments(settings)
        self.assertEqual(words[-4:], ["--uid=1", "netecho", "--port", "80"])
        self.assertLessEqual({"--nodaemon", "--pidfile="}, set(words))


class ListenerTests(SynchronousTestCase):
    """Which listeners new code may have."""

    def refused(self, here: list[str], there: list[str]) -> str:
        """Return why they are refused; empty if they are not."""
        endpoint: Any = None
        listeners = [Listener(endpoint, label) for label in here]
        try:
            check_same_listeners("netecho", listeners, there)
        except StartError as error:
            return str(error)
        return ""

    def test_the_same(self) -> None:
        """They may stand elsewhere in a file."""
        self.assertEqual(self.refused(["--port 80"], ["a.conf, line 3: port 80"]), "")

    def test_others(self) -> None:
        """One that is new, or gone, is named; so is the first one of another order."""
        for here, there, named in (
            (["--port 80", "--listen x"], ["--port 80"], "--listen x"),
            (["--port 80"], ["--port 80", "--listen x"], "--listen x"),
            (["--listen y", "--listen x"], ["--listen x", "--listen y"], "--listen y"),
        ):
            self.assertTrue(self.refused(here, there).startswith(f"netecho: {named}: an upgrade"))


class PrivilegeTests(SynchronousTestCase):
    def test_workers_change_theirs(self) -> None:
        """The flags that change user and root go to the workers, and the supervisor keeps its."""
        flags: dict[str, Any] = {
            "uid": 65534,
            "gid": 0,
            "chroot": "/srv",
            "rundir": ".",
            "umask": 0o27,
            "euid": 1,
            "nodaemon": 1,
            "pidfile": "x",
            "logfile": "y",
        }
        self.assertEqual(
            twistd_flags(flags), ("--chroot=/srv", "--uid=65534", "--gid=0", "--umask=27", "--euid")
        )
        keep_privileges(flags)
        self.assertEqual([flags[each] for each in ("uid", "gid", "chroot")], [None] * 3)
        self.assertFalse(flags["euid"])
        self.assertEqual(flags["pidfile"], "x")

    def test_twist(self) -> None:
        """It has none of these flags."""
        flags: dict[str, Any] = {"reactor": None}
        self.assertEqual(twistd_flags(flags), ())
        keep_privileges(flags)
        self.assertEqual(flags, {"reactor": None})


class DescriptorTests(SynchronousTestCase):
    def test_too_few(self) -> None:
        """The start ends with a line that has the number, before anything is started."""
        options = Options()
        options.parseOptions(["--workers", "8"])
        self.patch(resource, "getrlimit", lambda _: (55, 55))
        error = self.assertRaises(StartError, make_supervisor, options, None, 8)
        self.assertEqual(
            str(error),
            "netecho: --workers 8: this takes 56 file descriptors, and the limit is 55: raise it "
            "(ulimit -n, LimitNOFILE= in systemd), or start fewer workers",
        )


class EnvironmentTests(SynchronousTestCase):
    def test_what_is_passed_on(self) -> None:
        """All but what systemd has told the supervisor; modules are found in the same places."""
        own = {"HOME": "/root", "NOTIFY_SOCKET": "/n", "LISTEN_FDS": "1", "PYTHONPATH": "/x"}
        self.assertEqual(
            worker_environment(own, ["", "/a", "/b"]), {"HOME": "/root", "PYTHONPATH": ":/a:/b"}
        )


class LineTests(SynchronousTestCase):
    def test_every_split(self) -> None:
        """Lines are the same, however they arrive; the last needs no end, empty ones are none."""
        data = b"one\n\ntwo\nthree"
        for size in range(1, len(data) + 1):
            lines: list[bytes] = []
            splitter = LineSplitter(lines.append)
            for start in range(0, len(data), size):
                splitter.add(data[start : start + size])
            splitter.end()
            self.assertEqual(lines, [b"one", b"two", b"three"])

    def test_a_line_without_an_end(self) -> None:
        """It does not grow without a limit."""
        lines: list[bytes] = []
        splitter = LineSplitter(lines.append)
        for _ in range(40):
            splitter.add(b"x" * 60_000)
        self.assertEqual(len(lines), 2)
