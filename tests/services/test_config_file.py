"""Tests for ``--config``: :mod:`twisted_net.services.config_file` and ``configurable``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.services.test_options import SERVICES, OptionsCase
from twisted_net.services import chat, echo, idle
from twisted_net.services.config_file import LARGEST_CONFIG
from twisted_net.services.starting import StartError


class ConfigCase(OptionsCase):
    """Tests with a file, whose path is ``self.path``."""

    def config(self, *lines: str | bytes) -> str:
        """Write a file, and return its path."""
        self.path = self.mktemp()
        raw = [each if isinstance(each, bytes) else each.encode() for each in lines]
        Path(self.path).write_bytes(b"\n".join(raw))
        return self.path

    def read(self, *lines: str | bytes, more: tuple[str, ...] = (), service: Any = echo) -> Any:
        """Return the options of a file and a command line."""
        return self.parsed("--config", self.config(*lines), *more, service=service)

    def wrong(self, *lines: str | bytes, more: tuple[str, ...] = (), service: Any = echo) -> str:
        """Return the error of a file, with ``FILE`` for its path."""
        words = ("--config", self.config(*lines), *more)
        return self.rejection_message(*words, service=service).replace(self.path, "FILE")


class ReadingTests(ConfigCase):
    """Files that are read."""

    def test_flags_of_every_kind(self) -> None:
        """Values, repeated flags, switches, comments and empty lines."""
        found = self.read(
            *("# a comment", "", "  ; another", "port = 0", "max-message=100", "  rate =  2.5  "),
            *("listen = unix:/run/a=b#c", "listen = tcp:1", "allow = ::1,10.0.0.0/8"),
        )
        self.assertEqual((found["port"], found["max-message"], found["rate"]), (0, 100, 2.5))
        self.assertEqual(found["listen"], ["unix:/run/a=b#c", "tcp:1"])
        self.assertEqual(len(found["allow"]), 2)

    def test_every_service(self) -> None:
        """Each service takes its own flags, and no other's."""
        self.assertEqual(self.read("upstream = tcp:h:1", service=idle)["upstream"], "tcp:h:1")
        self.assertEqual(
            self.read("operator = a", "operator = b", service=chat)["operator"], ["a", "b"]
        )
        for service in (echo, chat):
            line = self.wrong("upstream = tcp:h:1", service=service)
            self.assertEqual(line, "FILE, line 1: upstream: unknown flag; see --help")

    def test_every_flag_may_be_in_a_file(self) -> None:
        """No flag is missing, except those that print something and end."""
        for service in SERVICES:
            options = service.Options()
            names = {each.rstrip("=") for each in options.longOpt}
            known = options.known_flags()
            left_out = names - {*known.values, *known.switches}
            self.assertEqual(left_out, {"config", *options.command_line_only})
            self.assertLessEqual({"help", "version"}, left_out)
            self.assertLessEqual(set(known.repeatable), set(known.values))
            lists = {each for each in known.values if isinstance(options.get(each), list)}
            self.assertEqual(lists, set(known.repeatable))

    def test_switches(self) -> None:
        """A switch is on or off, in any usual word."""
        for word in ("yes", "true", "on", "1", "YES", "True"):
            self.assertTrue(self.read("tls-port = 0", f"self-signed = {word}")["self-signed"])
        for word in ("no", "false", "off", "0", "No"):
            self.assertFalse(self.read(f"self-signed = {word}")["self-signed"])

    def test_other_line_ends(self) -> None:
        """A byte order mark and CR LF, as editors on Windows write them, do no harm."""
        self.assertEqual(self.read(b"\xef\xbb\xbfport = 5\r", b"rate = 1\r")["port"], 5)

    def test_the_command_line_wins(self) -> None:
        """A flag on the command line replaces the file's, and all lines of a repeatable one."""
        lines = ("port = 5", "listen = tcp:1", "listen = tcp:2", "max-message = 7")
        more = ("-p6", "--listen", "tcp:3", "--max-mess=8")
        found = self.read(*lines, more=more)
        self.assertEqual((found["port"], found["max-message"]), (6, 8))
        self.assertEqual(found["listen"], ["tcp:3"])
        found = self.parsed(*more, "--config", self.path)  # in any order
        self.assertEqual((found["port"], found["listen"]), (6, ["tcp:3"]))

    def test_an_error_that_the_command_line_replaces(self) -> None:
        """The error of a flag on the command line does not name the file."""
        line = self.wrong("port = x", more=("--port=y",))
        self.assertEqual(line, "--port y: must be a whole number from 0 to 65535")
        self.assertEqual(self.read("port = x", more=("--port=1",))["port"], 1)

    def test_help_needs_no_file(self) -> None:
        """``--help`` and ``--version`` do not read the file."""
        for flag in ("--help", "--version"):
            with self.assertRaises(SystemExit) as ended:
                self.parsed("--config", "/nowhere", flag)
            self.assertNotIsInstance(ended.exception, StartError)


class ErrorTests(ConfigCase):
    """Files with a mistake: the line names the file, the line, the flag and the value."""

    def test_unknown_names(self) -> None:
        for line, why in (
            ("prot = 1", "prot: unknown flag; did you mean port?"),
            ("max_message = 1", "max_message: unknown flag; did you mean max-message?"),
            ("--port = 1", "--port: unknown flag; did you mean port?"),
            ("Port = 1", "Port: unknown flag; did you mean port?"),
            ("p = 1", "p: unknown flag; see --help"),
            ("zzz", "zzz: unknown flag; see --help"),
            ("p8080 = 1", "p8080: unknown flag; see --help"),
            ("= 1", "=: unknown flag; see --help"),
            ("help = yes", "help: only on the command line"),
            ("config = other.conf", "config: only on the command line"),
            ("[netecho]", "[netecho]: there are no sections, only lines of name = value"),
        ):
            self.assertEqual(self.wrong("# first", line), f"FILE, line 2: {why}")

    def test_bad_values(self) -> None:
        """The parser of each flag finds them."""
        for line, why in (
            ("port = 65536", "port 65536: must be a whole number from 0 to 65535"),
            ("interface = eth0", "interface eth0: must be an IP address"),
            ("interface =", "interface : must be an IP address"),
            ("slow = x", "slow x: must be close, drop-oldest or drop-newest"),
            ("listen = tpc:80", "listen tpc:80: Unknown endpoint type: 'tpc'"),
            ("cert = c", "cert c: requires --tls-port"),
            ("self-signed = yes", "self-signed: requires --tls-port"),
            ("self-signed = maybe", "self-signed = maybe: must be yes or no"),
            ("self-signed", "self-signed: must be self-signed = yes"),
            ("port", "port: must be port = value"),
            ("port 8080", "port: must be port = value"),
            ("port: 8080", "port:: unknown flag; did you mean port?"),
            ('port = "80"', "port: write the value without quotes"),
            (b"port = \xff", "must be UTF-8 text"),
            ("listen = unix:/a\0b", "listen: a value cannot have a NUL character"),
        ):
            self.assertEqual(self.wrong("", "rate = 1", line), f"FILE, line 3: {why}")

    def test_bad_ranges(self) -> None:
        """Of several ranges, the wrong one is named."""
        for name in ("allow", "deny", "proxy-protocol", "trusted-proxy"):
            lines = f"{name} = ::1", f"{name} = 10.0.0.0/8,10.1.2.3/8"
            found = self.wrong(*lines, service=chat)
            start = f"FILE, line 2: {name}: '10.1.2.3/8' is not an address range: "
            self.assertTrue(found.startswith(start), found)

    def test_twice(self) -> None:
        """A flag that is not repeatable is there once."""
        line = self.wrong("port = 1", "", "port = 2")
        self.assertEqual(line, "FILE, line 3: port: is in line 1 already")
        for more in (("--config", "other"), ("--config=x",)):
            line = self.wrong("port = 1", more=more)
            self.assertTrue(line.endswith(": may be given once"), line)

    def test_files_that_the_service_needs(self) -> None:
        """A certificate that does not exist is named with the line, too."""
        more = ("--tls-port", "0", "--key", self.key)
        line = self.wrong("# c", "cert = /nowhere/c", more=more)
        self.assertEqual(line, "FILE, line 2: cert /nowhere/c: No such file or directory")

    def test_labels(self) -> None:
        """A port that is busy is named with the line."""
        found = self.read("port = 0", "listen = tcp:1").listeners(self.reactor)
        labels = [each.label.replace(self.path, "FILE") for each in found]
        self.assertEqual(labels, ["FILE, line 1: port 0", "FILE, line 2: listen tcp:1"])

    def test_the_flags_of_one_service(self) -> None:
        """Errors of netchat's and netidle's own flags name the line as well."""
        for line, why in (
            ("history = x", "history x: must be a whole number from 0 to 100"),
            ("heartbeat = 0.5", "heartbeat 0.5: must be at least 1 second"),
            ("allow-anonymous = yes", "allow-anonymous: requires --auth"),
        ):
            found = self.wrong(line, service=chat)
            self.assertEqual(found.split("100")[0], f"FILE, line 1: {why}".split("100")[0])
        options = self.read("store = mysql:x", service=chat)
        error = str(self.assertRaises(StartError, options.factory, self.reactor))
        self.assertIn(f"netchat: {self.path}, line 1: store mysql:x: a store must be", error)
        options = self.read("upstream = tcp:h:p", service=idle)
        error = str(self.assertRaises(StartError, idle.makeService, options))
        self.assertIn(f"{self.path}, line 1: upstream tcp:h:p: 'p' is not a number", error)

    def test_files_that_cannot_be_read(self) -> None:
        """A missing file, a directory, a device without an end."""
        os.mkfifo("fifo")
        for path, why in (
            ("/nowhere", "No such file or directory"),
            (".", "Is a directory"),
            ("/dev/zero", f"must have at most {LARGEST_CONFIG} bytes"),
            ("", "No such file or directory"),
        ):
            line = self.rejection_message("--config", path)
            self.assertEqual(line, f"--config {path}: {why}")
        self.assertEqual(self.parsed("--config", "fifo")["listen"], [])  # it does not wait
