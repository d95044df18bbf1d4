"""Tests for :mod:`twisted_net.services.options` and ``starting``: flags and their errors."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

import trustme
from OpenSSL import SSL
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.tls.handshakes import Issued
from twisted_net.services import chat, echo, idle
from twisted_net.services.starting import (
    StartError,
    fail_late,
    format_endpoint_error,
    format_systemd_error,
)

SERVICES = (echo, idle, chat)


class OptionsCase(SynchronousTestCase):
    """Tests with a certificate."""

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        authority = trustme.CA()
        issued = authority.issue_cert("chat.example")
        self.cert = self.file(issued.cert_chain_pems[0].bytes())
        self.key = self.file(issued.private_key_pem.bytes())
        self.other_key = self.file(authority.issue_cert("x.example").private_key_pem.bytes())

    def file(self, data: bytes) -> str:
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(data)
        return os.path.abspath(path)

    def parsed(self, *words: str, service: Any = echo) -> Any:
        """Return the options of a command line."""
        options = service.Options()
        options.parseOptions(list(words))
        return options

    def labels(self, *words: str) -> list[str]:
        """Return the labels of a command line's listeners."""
        return [each.label for each in self.parsed(*words).listeners(self.reactor)]

    def rejection_message(self, *words: str, service: Any = echo) -> str:
        """Return the error of a command line: one line, after the name of the service."""

        def start() -> None:
            self.parsed(*words, service=service).listeners(self.reactor)

        line = str(self.assertRaises(StartError, start))
        command = service.Options.command
        self.assertTrue(line.startswith(f"{command}: "), line)
        self.assertNotIn("\n", line)
        self.assertNotIn("Traceback", line)
        return line[len(command) + 2 :]


class ListenersTests(OptionsCase):
    def test_the_default_port(self) -> None:
        """The default port is used if no other listener is given."""
        for service in SERVICES:
            (listener,) = self.parsed(service=service).listeners(self.reactor)
            self.assertEqual(listener.label, "--port 8080")
            listener.endpoint.listen(None)
        self.assertEqual({port for port, *_ in self.reactor.tcpServers}, {8080})

    def test_others_replace_it(self) -> None:
        """Other listeners replace the default port, but not an explicit one."""
        tls = ("--tls-port", "8443", "--self-signed")
        self.assertEqual(self.labels(*tls), ["--tls-port 8443"])
        self.assertEqual(self.labels("--listen", "tcp:1"), ["--listen tcp:1"])
        words = (*tls, "--listen=tcp:1", "--listen", "unix:/x", "-p", "0")
        expected = ["--port 0", "--tls-port 8443", "--listen tcp:1", "--listen unix:/x"]
        self.assertEqual(self.labels(*words), expected)

    def test_the_interface(self) -> None:
        """The interface applies to both ports, for IPv4 and IPv6."""
        for address in ("127.0.0.1", "::1"):
            words = ("--interface", address, "--port", "1", "--tls-port", "2", "--self-signed")
            for listener in self.parsed(*words).listeners(self.reactor):
                listener.endpoint.listen(None)
            self.assertEqual([server[3] for server in self.reactor.tcpServers[-2:]], [address] * 2)

    def test_certificates(self) -> None:
        """Certificates come from files, with or without a client CA."""
        words = ("--tls-port", "1", "--cert", self.cert, "--key", self.key)
        self.assertEqual(self.labels(*words), ["--tls-port 1"])
        self.assertEqual(self.labels(*words, "--client-ca", self.cert), ["--tls-port 1"])

    def test_a_chat_and_an_echo_know_nothing_of_each_other(self) -> None:
        """Services share no options, and neither do command lines."""
        self.parsed("--listen", "tcp:1")
        self.assertEqual(self.parsed()["listen"], [])


class ValueTests(OptionsCase):
    def test_numbers(self) -> None:
        """Invalid or out-of-range numbers name flag, value and reason."""
        whole = "must be a whole number from {} to {}"
        for flag, values, least, most in (
            ("port", ("x", "", "-1", "65536", "1.5", "1e3", "0x10", "٣", "+1", " 1"), 0, 65535),
            ("tls-port", ("x", "65536"), 0, 65535),
            ("max-message", ("0", "x", "1073741825"), 1, 1073741824),
        ):
            for value in values:
                line = self.rejection_message(f"--{flag}", value)
                self.assertEqual(line, f"--{flag} {value}: {whole.format(least, most)}")

    def test_a_number_without_end(self) -> None:
        """A number with too many digits for Python is rejected too."""
        self.assertTrue(self.rejection_message("--port", "9" * 5000).startswith("--port 9"))

    def test_seconds(self) -> None:
        """Seconds may have a fraction, and have a maximum."""
        for flag in ("idle-timeout", "drain"):
            for value in ("x", "", "-1", "-0.1", "nan", "inf", "-inf", "1e400", "5s", "1e308"):
                line = self.rejection_message(f"--{flag}", value)
                self.assertEqual(
                    line, f"--{flag} {value}: must be a number of seconds from 0 to 1000000000"
                )
            for value in ("0", "0.5", "3600"):
                self.assertEqual(self.parsed(f"--{flag}", value)[flag], float(value))

    def test_interfaces(self) -> None:
        """The interface must be an IP address."""
        for value in ("localhost", "1.2.3", "1.2.3.4.5", "", ":::1", "eth0"):
            line = self.rejection_message("--interface", value)
            self.assertEqual(line, f"--interface {value}: must be an IP address")

    def test_which_ends_are_logged(self) -> None:
        for words, every in (((), True), (("--log-ends", "notable"), False)):
            options = echo.Options()
            options.parseOptions(list(words))
            self.assertEqual(options.settings()["log_ends"], every)
        line = "--log-ends some: must be all or notable"
        self.assertEqual(self.rejection_message("--log-ends", "some"), line)

    def test_flags_that_there_are_not(self) -> None:
        """Unknown flags, extra words and missing values are rejected."""
        for service in SERVICES:
            for words, line in (
                (["--nope"], "--nope: unknown flag; see --help"),
                (["--nope=1"], "--nope: unknown flag; see --help"),
                (["-z"], "-z: unknown flag; see --help"),
                (["--port"], "--port: requires a value"),
                (["--self-signed=1"], "--self-signed: takes no value"),
                (["8080"], "8080: unexpected argument; flags begin with --"),
                (["--port", "1", "x"], "x: unexpected argument; flags begin with --"),
            ):
                self.assertEqual(self.rejection_message(*words, service=service), line)

    def test_reserved_names(self) -> None:
        """Only netchat has --reserve. It may be given several times; each has to be a name."""
        options = self.parsed("--reserve", "Support", "--reserve", "\uff52oot", service=chat)
        self.assertEqual(options["reserve"], ["Support", "root"])
        registry = options.factory(self.reactor).registry
        self.assertEqual(registry.reserved_for("supp0rt"), "support")
        for name, why in (
            ("a b", "A name has letters and digits, and then also . _ and -"),
            ("x" * 25, "A name has at most 24 characters"),
            ("bob\u09ea", "A name has letters of one script only"),
            ("The", "Nobody is called The: notices begin so"),
        ):
            line = self.rejection_message("--reserve", name, service=chat)
            self.assertEqual(line, f"--reserve {name}: {why}")
        line = self.rejection_message("--reserve", "x", service=echo)
        self.assertEqual(line, "--reserve: unknown flag; see --help")

    def test_the_upstream_is_netidles_alone(self) -> None:
        """Only netidle has --upstream."""
        self.assertEqual(self.parsed("--upstream", "tcp:h:1", service=idle)["upstream"], "tcp:h:1")
        for service in (echo, chat):
            line = self.rejection_message("--upstream", "tcp:h:1", service=service)
            self.assertEqual(line, "--upstream: unknown flag; see --help")


class ForbiddenMemoryTests(OptionsCase):
    """TLS where memory may not be both writable and executable: pyOpenSSL cannot work there."""

    WHY = "TLS needs memory that is both writable and executable, which is forbidden here"

    def test_certificates(self) -> None:
        """Each kind of certificate ends the start with a line that names the flag."""

        def forbidden(*arguments: object) -> None:
            raise MemoryError("Cannot allocate write+execute memory for ffi.callback().")

        self.patch(SSL.Context, "set_alpn_select_callback", forbidden)
        for service in SERVICES:
            options = self.parsed("--tls-port", "8443", "--self-signed", service=service)
            error = self.assertRaises(StartError, options.listeners, self.reactor)
            self.assertTrue(
                str(error).startswith(f"{options.command}: --tls-port 8443: {self.WHY}")
            )

    def test_endpoints(self) -> None:
        """And so does an endpoint, such as ``nettls:``."""
        text = format_endpoint_error(MemoryError("Cannot allocate write+execute memory"))
        self.assertTrue(text.startswith(self.WHY))


class TLSTests(OptionsCase):
    def test_flags_that_need_each_other(self) -> None:
        """Missing and conflicting TLS flags are rejected."""
        port = ("--tls-port", "1")
        for words, line in (
            (["--cert", "c"], "--cert c: requires --tls-port"),
            (["--key", "k"], "--key k: requires --tls-port"),
            (["--client-ca", "a"], "--client-ca a: requires --tls-port"),
            (["--self-signed"], "--self-signed: requires --tls-port"),
            (port, "--tls-port 1: requires --cert, --tls-dir or --self-signed"),
            ([*port, "--key", "k"], "--tls-port 1: requires --cert, --tls-dir or --self-signed"),
            ([*port, "--cert", "c"], "--tls-port 1: requires --key, --tls-dir or --self-signed"),
            (
                [*port, "--self-signed", "--cert", "c"],
                "--self-signed: cannot be used with --cert",
            ),
            ([*port, "--self-signed", "--key", "k"], "--self-signed: cannot be used with --key"),
            (
                [*port, "--self-signed", "--tls-dir", "d"],
                "--self-signed: cannot be used with --tls-dir",
            ),
            (["--tls-dir", "d"], "--tls-dir d: requires --tls-port"),
            (["--keylog", "k"], "--keylog k: requires --tls-port"),
            (["--ticket-key", "k"], "--ticket-key k: requires --tls-port"),
            (["--key-passphrase-file", "p"], "--key-passphrase-file p: requires --tls-port"),
            (["--key-passphrase-env", "P"], "--key-passphrase-env P: requires --tls-port"),
            (["--min-tls", "1.3"], "--min-tls 1.3: requires --tls-port"),
            (["--allow-expired"], "--allow-expired: requires --tls-port"),
            (
                ["--optional-client-certificate"],
                "--optional-client-certificate: requires --tls-port",
            ),
            (
                [*port, "--self-signed", "--optional-client-certificate"],
                "--optional-client-certificate: requires --client-ca",
            ),
            ([*port, "--self-signed", "--min-tls", "1.1"], "--min-tls 1.1: must be 1.2 or 1.3"),
            (
                [*port, "--self-signed", "--key-passphrase-env", "P"],
                "--key-passphrase-env P: requires --cert and --key, or --tls-dir",
            ),
            (
                [*port, "--tls-dir", "d", "--key-passphrase-file", "p", "--key-passphrase-env=P"],
                "--key-passphrase-file p: cannot be used with --key-passphrase-env",
            ),
            (
                [*port, "--tls-dir", "d", "--key", "k"],
                "--tls-dir d: cannot be used with --key",
            ),
        ):
            self.assertEqual(self.rejection_message(*words), line)

    def test_a_ca_for_clients_is_never_passed_over(self) -> None:
        """A client CA that cannot be used ends the start, because otherwise anyone could
        connect."""
        words = ("--tls-port", "1", "--self-signed", "--client-ca", self.cert)
        self.assertTrue(self.rejection_message(*words).startswith(f"--client-ca {self.cert}: "))

    def test_files(self) -> None:
        """The error names the flag at fault, and the file."""
        missing = self.mktemp()
        empty = self.file(b"")
        for cert, key, more, line in (
            (missing, self.key, (), f"--cert {missing}: No such file or directory"),
            (self.cert, missing, (), f"--key {missing}: No such file or directory"),
            (empty, self.key, (), f"--cert {empty}: has no certificate in PEM form"),
            (self.cert, empty, (), f"--key {empty}: has no private key in PEM form"),
            (
                self.cert,
                self.other_key,
                (),
                f"--key {self.other_key}: does not belong to the certificate {self.cert}",
            ),
            (
                self.cert,
                self.key,
                ("--client-ca", empty),
                f"--client-ca {empty}: has no certificate in PEM form",
            ),
        ):
            words = ("--tls-port", "1", "--cert", cert, "--key", key, *more)
            self.assertEqual(self.rejection_message(*words), line)

    def test_expired(self) -> None:
        """An expired certificate ends the start, unless that is allowed; the line says how."""
        for issued, why in (
            (Issued("a.example", days=-1), "expired on .* UTC; renew it, or allow expired"),
            (Issued("a.example", since=1), "is not valid before .* UTC; is the clock right?"),
        ):
            cert, key = self.file(issued.cert), self.file(issued.key)
            words = ("--tls-port", "1", "--cert", cert, "--key", key)
            self.assertRegex(self.rejection_message(*words), f"^--cert {cert}: {why}")
            self.assertEqual(self.labels(*words, "--allow-expired"), ["--tls-port 1"])

    def test_passphrases(self) -> None:
        """A passphrase is read from a file or the environment; the error names the flag."""
        issued = Issued("a.example")
        cert, key = self.file(issued.cert), self.file(issued.encrypted_key(b"s3cret"))
        words = ("--tls-port", "1", "--cert", cert, "--key", key)
        good, bad, empty = (self.file(each) for each in (b"s3cret\nmore", b"other", b""))
        self.patch(os, "environ", {**os.environ, "PASS": "s3cret"})
        self.patch(os, "environb", {b"PASS": b"s3cret"})
        for more in (("--key-passphrase-file", good), ("--key-passphrase-env", "PASS")):
            self.assertEqual(self.labels(*words, *more), ["--tls-port 1"])
        for flag, value, line in (
            ("file", bad, f"--key {key}: is encrypted with another passphrase"),
            ("file", empty, f"--key-passphrase-file {empty}: has no passphrase in its first line"),
            ("file", "/nowhere", "--key-passphrase-file /nowhere: No such file or directory"),
            ("env", "PASSS", "--key-passphrase-env PASSS: is not set in the environment"),
        ):
            more = (f"--key-passphrase-{flag}", value)
            self.assertEqual(self.rejection_message(*words, *more), line)
        line = f"--key {key}: is encrypted: its passphrase is missing"
        self.assertEqual(self.rejection_message(*words), line)

    def test_a_ticket_key(self) -> None:
        """A ticket key that cannot be used ends the start."""
        words = ("--tls-port", "1", "--self-signed", "--ticket-key")
        self.assertEqual(self.labels(*words, self.file(os.urandom(80))), ["--tls-port 1"])
        short = self.file(b"short")
        line = self.rejection_message(*words, short)
        self.assertTrue(line.startswith(f"--ticket-key {short}: must have 80 random bytes, not 5"))


class BindTests(OptionsCase):
    """How the ports are bound."""

    def test_ipv6_only(self) -> None:
        """``--ipv6-only`` needs an IPv6 address."""
        line = self.rejection_message("--ipv6-only", "--interface", "127.0.0.1")
        self.assertEqual(line, "--interface 127.0.0.1: must be an IPv6 address with --ipv6-only")

    def test_without_a_port(self) -> None:
        """Both flags are for ports of their own."""
        for flag in ("--ipv6-only", "--reuse-port"):
            line = self.rejection_message(flag, "--listen", "tcp:1")
            self.assertEqual(line, f"{flag}: requires --port or --tls-port")

    def test_a_reactor_that_cannot(self) -> None:
        """A reactor that adopts no sockets is told with the port."""
        line = self.rejection_message("--reuse-port", "--port", "1")
        self.assertEqual(
            line, "--port 1: this reactor cannot share a port, or leave IPv4 to others"
        )


class EndpointTests(OptionsCase):
    def test_typing_errors(self) -> None:
        """Typing errors are reported without the words of Twisted's parser."""
        huge = "tcp:" + "9" * 10_000
        for text, why in (
            (huge, "a number has too many digits"),
            ("tcp", "'port' is missing"),
            ("tcp:abc", "'abc' is not a number"),
            ("tcpp:80", "Unknown endpoint type: 'tcpp'"),
            ("", "Unknown endpoint type: ''"),
            ("tcp:1:2:3:4:5:6", "has too many parts"),
            ("tcp:1:nonsense=2", "'nonsense' is unknown"),
        ):
            self.assertEqual(self.rejection_message("--listen", text), f"--listen {text}: {why}")

    def test_systemd(self) -> None:
        """A socket of systemd's that is not named, or not there, says what to set."""
        name_it = "must be systemd:domain=INET6:name=NAME, with NAME from FileDescriptorName="
        none = "systemd has passed no such socket; it passes those of the service's .socket units"
        for text, why in (
            ("systemd", name_it),
            ("systemd:", name_it),
            ("systemd:domain=INET", name_it),
            ("systemd:index=0", name_it),
            ("systemd:domain=INET:index=0:name=x", name_it),
            ("systemd:domain=INET:index=0", none),
            ("systemd:domain=INET6:name=chat.socket", none),
            ("systemd:domain=INET:index=x", "'x' is not a number"),
            ("systemd:domain=INET:index=0:nope=1", "'nope' is unknown"),
        ):
            line = self.rejection_message("--listen", text)
            self.assertTrue(line.startswith(f"--listen {text}: {why}"), line)
        self.assertEqual(
            format_systemd_error(AttributeError("module 'socket' has no attribute 'AF_INTE'")),
            "the domain must be INET, INET6 or UNIX",
        )

    def test_certificates_in_an_endpoint(self) -> None:
        """The error names a missing file, or describes invalid content."""
        missing, empty = os.path.abspath(self.mktemp()), self.file(b"")
        text = f"ssl:1:privateKey={missing}"
        why = f"{missing}: No such file or directory"
        self.assertEqual(self.rejection_message("--listen", text), f"--listen {text}: {why}")
        text = f"ssl:1:privateKey={empty}:certKey={self.cert}"
        self.assertNotIn("[(", self.rejection_message("--listen", text))

    def test_upstreams(self) -> None:
        """Errors in --upstream are reported when the service is made."""
        for text, why in (
            ("tcp:h:p", "'p' is not a number"),
            ("tcp:h", "'port' is missing"),
            ("nope:1", "Unknown endpoint type: 'nope'"),
        ):
            options = self.parsed("--upstream", text, service=idle)
            error = self.assertRaises(StartError, idle.makeService, options)
            self.assertEqual(str(error), f"netidle: --upstream {text}: {why}")


class PlainlyTests(SynchronousTestCase):
    def test_errors_of_the_system(self) -> None:
        """System errors include the file, if there is one."""
        self.assertEqual(
            format_endpoint_error(OSError(2, "No such file", "/x")), "/x: No such file"
        )
        self.assertEqual(format_endpoint_error(OSError(98, "Address in use")), "Address in use")

    def test_errors_without_words(self) -> None:
        """An error without a text is reported by its name."""
        self.assertEqual(format_endpoint_error(RuntimeError()), "RuntimeError")

    def test_several_lines_become_one(self) -> None:
        """A text of several lines becomes one line."""
        self.assertEqual(format_endpoint_error(ValueError("one\n  two")), "one two")

    def test_what_openssl_says(self) -> None:
        """OpenSSL's errors are shown without brackets."""
        error = SSL.Error([("x509 routines", "", "key values mismatch")])
        self.assertIn("key values mismatch", format_endpoint_error(error))
        self.assertNotIn("[", format_endpoint_error(error))

    def test_what_python_says_of_arguments(self) -> None:
        """Python's errors about arguments are translated for users who type endpoints."""

        def parse(port: str, host: str = "") -> None:
            """Parse an endpoint."""

        for arguments, named, text in (
            ((), {}, "'port' is missing"),
            ((1, 2, 3), {}, "has too many parts"),
            ((1,), {"x": 1}, "'x' is unknown"),
        ):
            error = self.assertRaises(TypeError, parse, *arguments, **named)
            self.assertEqual(format_endpoint_error(error), text)


class StartErrorTests(SynchronousTestCase):
    def test_it_ends_a_program_with_its_line(self) -> None:
        """The error ends a program with its line and status 1, as ``SystemExit`` with text."""
        error = StartError("netecho: --port x: why")
        self.assertIsInstance(error, SystemExit)
        self.assertEqual((error.code, str(error)), ("netecho: --port x: why",) * 2)

    def test_it_can_be_shown_early(self) -> None:
        """The line can be shown early, once, on the real standard error."""
        shown = io.StringIO()
        self.patch(sys, "__stderr__", shown)
        error = StartError("netecho: --port 1: busy").show()
        self.assertEqual((error.code, shown.getvalue()), (1, "netecho: --port 1: busy\n"))

    def test_a_late_failure(self) -> None:
        """A late failure is shown, stops the reactor, and makes the exit status 1."""
        shown, calls = io.StringIO(), []
        self.patch(sys, "__stderr__", shown)
        self.patch(sys.modules["twisted_net.services.starting"].atexit, "register", calls.append)

        class Reactor:
            def stop(self) -> None:
                calls.append("stop")

        fail_late(Reactor(), "netidle: --upstream x: gone")  # type: ignore[arg-type]
        self.assertEqual(shown.getvalue(), "netidle: --upstream x: gone\n")
        self.assertEqual((len(calls), calls[-1]), (2, "stop"))
