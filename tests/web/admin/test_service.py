"""Tests for :mod:`twisted_net.web.admin.service` and ``token_file``."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import succeed
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.web.admin.service import LocalEndpoint
from twisted_net.web.admin.token_file import LEAST_TOKEN, TokenError, TokenFile

TOKEN = "0123456789abcdef"


class Port:
    """A port that can be stopped."""

    def __init__(self, host: Any) -> None:
        self.host = host
        self.stopped = False

    def getHost(self) -> Any:
        return self.host

    def stopListening(self) -> None:
        self.stopped = True


class LocalEndpointTests(SynchronousTestCase):
    def listen(self, host: Any) -> tuple[Any, Port]:
        port = Port(host)

        class Endpoint:
            def listen(self, factory: object) -> Any:
                return succeed(port)

        return LocalEndpoint(Endpoint()).listen(None), port

    def test_this_machine(self) -> None:
        """Loopback addresses and Unix sockets are used."""
        for host in (IPv4Address("TCP", "127.0.0.9", 1), UNIXAddress("/run/x")):
            listening, port = self.listen(host)
            self.assertIs(self.successResultOf(listening), port)
            self.assertFalse(port.stopped)

    def test_others(self) -> None:
        """Where other machines can connect, nothing listens."""
        for host in ("0.0.0.0", "192.0.2.1"):
            listening, port = self.listen(IPv4Address("TCP", host, 1))
            error = self.failureResultOf(listening, ValueError).value
            self.assertIn("--admin-token-file", str(error))
            self.assertTrue(port.stopped)


class TokenFileTests(SynchronousTestCase):
    def file(self, text: str) -> str:
        path = self.mktemp()
        with open(path, "w") as file:
            file.write(text)
        return path

    def test_the_first_line(self) -> None:
        """Is the token."""
        for text in (TOKEN, f"{TOKEN}\n", f" {TOKEN} \r\nmore\n"):
            self.assertEqual(TokenFile(self.file(text)).token(), TOKEN.encode())

    def test_what_cannot_be_used(self) -> None:
        """Each is an error that says why."""
        for text, why in (
            ("", "at least"),
            ("x" * (LEAST_TOKEN - 1), "at least"),
            ("x" * 5000, "at most"),
            ("0123456789abcde\xe9", "ASCII"),
            ("0123456789 abcdef", "spaces"),
        ):
            error = self.assertRaises(TokenError, TokenFile, self.file(text))
            self.assertIn(why, str(error))
        error = self.assertRaises(TokenError, TokenFile, "/nonexistent")
        self.assertIn("No such file", str(error))
        fifo = self.mktemp()
        os.mkfifo(fifo)
        self.assertRaises(TokenError, TokenFile, fifo)

    def test_a_change(self) -> None:
        """A new token counts at once; one that cannot be used leaves the old one, and is logged."""
        path = self.file(TOKEN)
        file = TokenFile(path)
        with capturedLogs() as logs:
            for text in ("f" * 20, "short"):
                with open(f"{path}.new", "w") as new:
                    new.write(text)
                os.replace(f"{path}.new", path)
                self.assertEqual(file.token(), b"f" * 20)
            os.remove(path)
            self.assertEqual(file.token(), b"f" * 20)
        lines = [str(formatEvent(event)) for event in logs]
        self.assertEqual(len(lines), 3, lines)
        self.assertNotIn("f" * 20, "".join(lines))
