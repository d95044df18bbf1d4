"""Mistakes of users: one line, an exit status, and no traceback."""

from __future__ import annotations

import re
import socket
import time

from tests.live.harness import LOCALHOST, LiveTestCase, script
from tests.live.test_tls import Certificates

APPLICATION = """
from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted_net import EchoFactory, Listener, ListenerService

application = Application("echo")
endpoint = serverFromString(reactor, "tcp:{port}:interface=127.0.0.1")
ListenerService(EchoFactory(), [Listener(endpoint, "the echo")]).setServiceParent(application)
"""

AT_MOST = 2.0
"""Seconds until a mistake is reported, without the start of Python and Twisted."""

NO_HOST = "no-such-host.invalid"  # RFC 2606


class UserErrorsTests(LiveTestCase):
    """Each test has the command line of a mistake, and its error."""

    async def refused(
        self, *arguments: str, says: str, extra: float = 0.0, before: tuple[str, ...] = ()
    ) -> None:
        """Check a start that fails, and does so soon. It may be late twice: the machine is busy.

        :param before: flags of twistd.
        :param says: a regular expression that must match the whole line.
        :param extra: seconds that a machine's resolver takes.
        """
        took: list[float] = []
        while len(took) < 3 and (not took or took[-1] > AT_MOST + extra):
            took.append(await self.start(*arguments, says=says, before=before))
        self.assertLess(took[-1], AT_MOST + extra, took)

    async def start(self, *arguments: str, says: str, before: tuple[str, ...]) -> float:
        """Check a start that fails, and return the seconds that it took, without the start of
        Python and Twisted."""
        began = time.monotonic()
        await self.spawn(script("twistd"), arguments[0], "--version").ended()
        started = time.monotonic()
        # The output does not depend on how this test treats warnings.
        server = self.twistd(*before, *arguments, without=("PYTHONWARNINGS",))
        status = await server.ended()
        took = time.monotonic() - started
        errors = server.errors.decode().splitlines()
        self.assertEqual(len(errors), 1, server)
        self.assertTrue(re.fullmatch(says, errors[0]), f"{errors[0]!r} is not as {says!r}")
        self.assertIn(status, (1, 2))
        self.assertNotIn(b"Traceback", server.output)
        self.assertNotIn(b"Unhandled", server.output)
        return took - (started - began)

    def taken(self) -> int:
        """Return a port that is in use."""
        busy = socket.socket()
        self.addCleanup(busy.close)
        busy.bind((LOCALHOST, 0))
        busy.listen()
        return int(busy.getsockname()[1])

    async def test_a_busy_port_of_an_application(self) -> None:
        """A .tac file has the line in its log, status 1, and no traceback either."""
        path = self.directory() / "echo.tac"
        path.write_text(APPLICATION.format(port=self.taken()))
        program = self.spawn(script("twistd"), "-n", "--pidfile=", "-y", str(path))
        self.assertEqual(await program.ended(), 1)
        output = program.output + program.errors
        self.assertRegex(output.decode(), r"(?m) the echo: Address already in use$")
        self.assertNotIn(b"Traceback", output)

    async def test_a_busy_port(self) -> None:
        """A busy port fails with --port, --tls-port and --listen, in every service."""
        port = self.taken()
        why = r"Address already in use\.?"
        here = ("--interface", LOCALHOST)
        for service in ("netecho", "netidle", "netchat"):
            await self.refused(
                service, "--port", str(port), *here, says=f"{service}: --port {port}: {why}"
            )
        await self.refused(
            *("netchat", "--tls-port", str(port), "--self-signed", *here),
            says=f"netchat: --tls-port {port}: {why}",
        )
        endpoint = f"tcp:{port}:interface={LOCALHOST}"
        await self.refused(
            *("netchat", "--port", "0", *here, "--listen", endpoint),
            says=f"netchat: --listen {re.escape(endpoint)}: {why}",
        )

    async def test_a_port_out_of_range(self) -> None:
        """Ports that are too high, negative or not a number are rejected."""
        for flag in ("--port", "--tls-port"):
            for port in ("65536", "-1", "http"):
                await self.refused(
                    *("netchat", f"{flag}={port}"),
                    says=rf"netchat: {flag} {port}: must be a whole number from 0 to 65535",
                )

    async def test_a_missing_file(self) -> None:
        """A missing or invalid certificate, key or CA is reported."""
        files = Certificates(self.directory())
        missing = str(self.directory() / "missing.pem")
        good = {"cert": files.cert, "key": files.key, "client-ca": files.ca}
        for flag in good:
            for path, why in (
                (missing, "No such file or directory"),
                (__file__, "has no .* PEM.*"),
            ):
                given = [f"--{name}={value}" for name, value in (good | {flag: path}).items()]
                await self.refused(
                    *("netchat", "--tls-port", "0", *given),
                    says=rf"netchat: --{flag} {re.escape(path)}: {why}",
                )

    async def test_a_missing_flag(self) -> None:
        """A TLS port without a certificate, and a certificate without a port, are reported."""
        files = Certificates(self.directory())
        await self.refused(
            *("netchat", "--tls-port", "0", "--cert", files.cert),
            says=r"netchat: --tls-port 0: requires --key.*",
        )
        await self.refused(
            *("netchat", "--cert", files.cert, "--key", files.key),
            says=rf"netchat: --cert {re.escape(files.cert)}: requires --tls-port",
        )

    async def test_a_key_of_another_certificate(self) -> None:
        """A key that does not belong to the certificate is reported."""
        files, others = Certificates(self.directory()), Certificates(self.directory())
        await self.refused(
            *("netchat", "--tls-port", "0", "--cert", files.cert, "--key", others.key),
            says=rf"netchat: --key {re.escape(others.key)}: does not belong to the certificate .*",
        )

    async def test_an_unknown_flag(self) -> None:
        """Unknown flags and extra words are reported in every service."""
        for service in ("netecho", "netidle", "netchat"):
            await self.refused(
                service, "--prot", "8080", says=rf"{service}: --prot: unknown flag; see --help"
            )
        await self.refused("netchat", "8080", says=r"netchat: 8080: unexpected argument; .*")

    async def test_a_flag_with_a_bad_value(self) -> None:
        """The error says which values a flag takes."""
        for flag, value in (
            ("--idle-timeout", "soon"),
            ("--idle-timeout", "-1"),
            ("--idle-timeout", "nan"),
            ("--drain", "inf"),
            ("--max-message", "0"),
            ("--max-message", "1.5"),
            ("--interface", "nowhere"),
        ):
            await self.refused(
                "netchat",
                f"{flag}={value}",
                says=rf"netchat: {flag} {re.escape(value)}: must be .*",
            )

    async def test_a_foreign_interface(self) -> None:
        """An address of another machine (RFC 5737) is reported."""
        await self.refused(
            *("netchat", "--port", "0", "--interface", "192.0.2.1"),
            says=r"netchat: --port 0: .*Cannot assign requested address.*",
        )

    async def test_an_endpoint_with_a_typo(self) -> None:
        """A typing error is reported in --listen and --upstream."""
        for endpoint in ("tpc:8080", "tcp:http-alt-typo", "tcp:0:interfaec=127.0.0.1", "ssl:0"):
            await self.refused(
                *("netchat", "--listen", endpoint),
                says=rf"netchat: --listen {re.escape(endpoint)}: .+",
            )
        for endpoint in ("tpc:localhost:80", "tcp:localhost", "tcp:localhost:http-alt-typo", ""):
            await self.refused(
                *("netidle", "--port", "0", "--interface", LOCALHOST, f"--upstream={endpoint}"),
                says=rf"netidle: --upstream {re.escape(endpoint)}: .+",
            )

    async def test_an_upstream_without_a_host(self) -> None:
        """An upstream whose host name does not resolve is reported."""
        began = time.monotonic()
        try:
            socket.getaddrinfo(NO_HOST, 80)
        except socket.gaierror:
            pass
        else:
            self.skipTest("the resolver of this machine finds every name")
        upstream = f"tcp:{NO_HOST}:80"
        await self.refused(
            *("netidle", "--port", "0", "--interface", LOCALHOST, "--upstream", upstream),
            says=rf"netidle: --upstream {re.escape(upstream)}: host not found",
            extra=time.monotonic() - began,
        )

    async def test_an_upstream_without_a_path(self) -> None:
        """An upstream whose Unix socket does not exist is reported."""
        await self.refused(
            *("netidle", "--port", "0", "--interface", LOCALHOST, "--upstream", "unix:nowhere"),
            says=r"netidle: --upstream unix:nowhere: path not found",
        )

    async def test_a_path_that_is_too_long(self) -> None:
        """A Unix socket path longer than 107 bytes (Linux) is reported by --upstream and
        --listen."""
        path = "/tmp/" + "x" * 107
        await self.refused(
            *("netidle", "--port", "0", "--interface", LOCALHOST, "--upstream", f"unix:{path}"),
            says=rf"netidle: --upstream unix:{path}: .*too long.*",
        )
        await self.refused(
            *("netchat", "--listen", f"unix:{path}"),
            says=rf"netchat: --listen unix:{path}: .*too long.*",
        )

    async def test_flags_of_twistd(self) -> None:
        """What twistd could not use ends the start with a line, too, and never hangs it."""
        here = self.directory()
        (here / "root/dev").mkdir(parents=True)
        (here / "empty").mkdir()
        (here / "log").mkdir()
        for service, flag, why in (
            ("netecho", "--pidfile=/nowhere/x.pid", "No such file or directory; name another .*"),
            ("netidle", f"--pidfile={here}", "Is a directory.*"),
            ("netchat", "--logfile=/nowhere/x.log", "No such file or directory"),
            ("netecho", f"--logfile={here}/log", "Is a directory"),
            ("netidle", "--rundir=/nowhere", "No such file or directory"),
            ("netchat", "--chroot=/nowhere", "No such file or directory"),
            ("netecho", f"--chroot={here}/empty", ".*dev/null.*|Operation not permitted.*"),
            ("netecho", "--uid=54321", "there is no such user|Operation not permitted.*"),
        ):
            name, _, value = flag.partition("=")
            await self.refused(
                service, before=(flag,), says=f"{service}: {name} {re.escape(value)}: ({why})"
            )

    async def test_a_directory_that_is_gone(self) -> None:
        """The working directory was deleted after somebody had gone there."""
        gone = self.directory()
        twistd = " ".join(self.command("netecho", "--port", "0"))
        server = self.spawn("sh", "-c", f"cd {gone} && rmdir {gone} && exec {twistd}")
        self.assertEqual(await server.ended(), 1)
        self.assertEqual(
            server.errors.decode(),
            "netecho: the working directory cannot be used: No such file or directory\n",
        )

    async def test_a_daemon_without_dev_null(self) -> None:
        """A daemon in such a root waited for ever."""
        root = self.directory()
        started = self.spawn(
            *(script("twistd"), "--pidfile=", f"--chroot={root}", "netecho", "--port", "0"),
            without=("PYTHONWARNINGS",),
        )
        self.assertEqual(await started.ended(), 1, started)
        self.assertIn(f"netecho: --chroot {root}: ", started.errors.decode())
        self.assertEqual(started.errors.count(b"\n"), 1, started)

    async def test_configuration_files(self) -> None:
        """Under both programs, the line names the file, the line, the flag and the value."""
        here = self.directory()
        for text, why in (
            ("# x\nport = 99999\n", "line 2: port 99999: must be a whole number from 0 to 65535"),
            ("prot = 1\n", "line 1: prot: unknown flag; did you mean port?"),
        ):
            (here / "x.conf").write_text(text)
            for starter in ("twistd", "twist"):
                started = self.spawn(
                    *(script(starter), "netchat", "--config", "x.conf"),
                    cwd=here,
                    without=("PYTHONWARNINGS",),
                )
                self.assertEqual(await started.ended(), 1, started)
                self.assertEqual(started.errors.decode(), f"netchat: x.conf, {why}\n")
