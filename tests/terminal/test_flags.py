"""The command line of ``netchat-client``."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout

from twisted.trial.unittest import SynchronousTestCase

from twisted_net import __version__
from twisted_net.terminal.flags import ClientSettings, parse_flags


def parse(*words: str) -> ClientSettings:
    return parse_flags(words)


class FlagsTests(SynchronousTestCase):
    """Command lines."""

    def refused(self, *words: str) -> str:
        """Return the error of a command line: one line, and status 2."""
        errors = io.StringIO()
        with redirect_stderr(errors), self.assertRaises(SystemExit) as caught:
            parse_flags(words)
        self.assertEqual(caught.exception.code, 2)
        line = errors.getvalue()
        self.assertEqual(line.count("\n"), 1, line)
        self.assertTrue(line.startswith("netchat-client: "), line)
        return line

    def printed(self, *words: str) -> str:
        """Return what a command line prints before it ends well."""
        output = io.StringIO()
        with redirect_stdout(output), self.assertRaises(SystemExit) as caught:
            parse_flags(words)
        self.assertEqual(caught.exception.code, 0)
        return output.getvalue()

    def test_where(self) -> None:
        """A host, with or without a port and TLS; an address; a Unix socket."""
        for text, where, tls in (
            ("localhost", ("localhost", 8080), {}),
            ("localhost:99", ("localhost", 99), {}),
            ("tls://example.org", ("example.org", 8443), {"tls": True}),
            ("TLS://example.org:443", ("example.org", 443), {"tls": True}),
            ("192.0.2.1:1", ("192.0.2.1", 1), {}),
            ("::1", ("::1", 8080), {}),
            ("[::1]", ("::1", 8080), {}),
            ("tls://[2001:db8::1]:2", ("2001:db8::1", 2), {"tls": True}),
            ("unix:/run/chat", "unix:/run/chat", {}),
            ("unix:/run/a:b", "unix:/run/a\\:b", {}),
        ):
            settings = parse(text)
            self.assertEqual((settings.where, settings.tls), (where, tls), text)
            self.assertEqual(settings.shown, text)

    def test_where_not(self) -> None:
        """What is no server is named, with what to write."""
        for text in ("", " ", "http://example.org", "a:b:c", "[::1", "a b", "unix:", "tls://"):
            self.assertIn(f"{text!r}", self.refused(text))
        for port in ("0", "65536", "x", "", "-1", "²"):
            line = self.refused(f"localhost:{port}")
            self.assertIn(f"'localhost:{port}': port", line)
            self.assertIn("1 to 65535", line)

    def test_the_defaults(self) -> None:
        """In the lobby, under the name that the server gives."""
        settings = parse("localhost")
        self.assertEqual((settings.nick, settings.rooms, settings.user), ("", ("lobby",), ""))
        self.assertEqual((settings.history, settings.listen, settings.timeout), (20, False, 30.0))

    def test_names(self) -> None:
        """Rooms are taken as the server writes them; names that it would refuse are errors."""
        settings = parse("-n", "Ann", "-r", "#Dev", "--room", "ops", "localhost")
        self.assertEqual((settings.nick, settings.rooms), ("Ann", ("dev", "ops")))
        self.assertIn("--nick a!: ", self.refused("-n", "a!", "localhost"))
        self.assertIn("--room #: ", self.refused("-r", "#", "localhost"))
        self.assertIn("--room : ", self.refused("-r", "", "localhost"))

    def test_numbers(self) -> None:
        """Are checked, and named with their value."""
        self.assertEqual(parse("--history", "0", "a").history, 0)
        self.assertEqual(parse("--timeout", "1.5", "a").timeout, 1.5)
        for flag, values in (
            ("--history", ("-1", "101", "x", "")),
            ("--timeout", ("0", "nan", "x")),
        ):
            for value in values:
                self.assertIn(f"{flag} {value}: must be", self.refused(f"{flag}={value}", "a"))

    def test_tls(self) -> None:
        """Its flags go to the client, and are errors without TLS."""
        settings = parse(
            *("--ca", "c", "--cert", "d", "--key", "e", "--server-name", "f", "tls://example.org")
        )
        self.assertEqual(
            settings.tls, {"tls": True, "ca": "c", "cert": "d", "key": "e", "server_name": "f"}
        )
        for flag in ("--ca", "--cert", "--key", "--server-name"):
            line = self.refused(flag, "x", "localhost")
            self.assertIn(f"{flag} x: ", line)
            self.assertIn("tls://localhost", line)

    def test_hosts_of_tls(self) -> None:
        """A name for which there can be no certificate is an error at once."""
        for host in ("a..b", "x" * 64, "a\udcffb", "-"):
            self.assertIn("no valid host name", self.refused(f"tls://{host}"))
            line = self.refused("--server-name", host, "tls://localhost")
            self.assertIn("--server-name ", line)
            self.assertIn("no valid host name", line)
        self.assertEqual(parse("tls://münchen.example").where[0], "münchen.example")
        self.assertIn("--ca: is empty", self.refused("--ca", "", "tls://localhost"))

    def test_passwords_are_not_sent_in_the_clear(self) -> None:
        """Only over TLS, within this machine, or if the user insists."""
        self.assertIn("--user ann: the password", self.refused("--user", "ann", "example.org"))
        for host in ("localhost.example.org", "127.example.org", "127.0.0.1.example.org", "127.1x"):
            self.assertIn("--user ann: ", self.refused("--user", "ann", host))
        for words in (
            ("tls://example.org",),
            ("localhost",),
            ("127.0.0.2",),
            ("[::1]:80",),
            ("unix:/run/chat",),
            ("--allow-plain-login", "example.org"),
        ):
            self.assertEqual(parse("--user", "ann", *words).user, "ann")

    def test_a_password_is_not_taken_from_the_command_line(self) -> None:
        """Everybody on the machine could read it there."""
        self.assertIn("--password", self.refused("--password", "secret", "localhost"))
        self.assertIn("--password-file f: ", self.refused("--password-file", "f", "localhost"))
        self.assertEqual(
            parse("--user", "a", "--password-file", "f", "localhost").password_file, "f"
        )

    def test_help_fits_a_terminal(self) -> None:
        """At 80 columns; every flag is explained, and there are examples."""
        text = self.printed("--help")
        self.assertEqual([line for line in text.splitlines() if len(line) > 80], [])
        for word in ("--user", "--password-file", "--ca", "--listen", "--timeout", "examples:"):
            self.assertIn(word, text)

    def test_the_version(self) -> None:
        """Is that of the package."""
        self.assertEqual(self.printed("--version"), f"netchat-client {__version__}\n")
