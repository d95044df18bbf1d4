"""Tests for :mod:`twisted_net.web.admin.split_secrets`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_net.testing import splits
from twisted_net.web.admin.redaction import hide_secrets
from twisted_net.web.admin.split_secrets import MOST_HELD_BACK, SplitSecrets

SECRET = b"s3cr3t!"


def shown(pieces: list[bytes]) -> bytes:
    """Return what a tap shows of a stream that comes in these pieces, and then ends."""
    stream = SplitSecrets()
    found = [each for piece in pieces for each in stream.feed(piece)]
    return b"".join(map(hide_secrets, [*found, *stream.flush()]))


class SplitSecretsTests(SynchronousTestCase):
    def test_every_split(self) -> None:
        """No place at which a secret is cut lets any part of it be shown."""
        for data in (
            b"USER ann\r\nPASS %s\r\nLIST\r\n",
            b"a001 ok\r\n  pass %s\r\n",
            b"AUTH LOGIN %s\r\n",
            b"HELLO 3 AUTH ann %s\r\n",
            b"*2\r\n$4\r\nAUTH\r\n$7\r\n%s\r\n",
            b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n*3\r\n$4\r\nauth\r\n$3\r\nann\r\n$7\r\n%s\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic %s\r\nAccept: *\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nSet-Cookie: id=x;\r\n  %s\r\n\r\n",
            b"POST / HTTP/1.1\r\nCookie : %s\r\n\r\n",
            b'{"user":"ann","password":"%s"}\n',
            b'POST / HTTP/1.1\r\n\r\n{"a": [1], "token": "%s"}',
        ):
            whole = data % SECRET
            for pieces in splits(whole):
                self.assertNotIn(b"cr3", shown(list(pieces)), (whole, pieces))

    def test_what_is_no_secret(self) -> None:
        """It is shown at once, and nothing of it is lost."""
        stream = SplitSecrets()
        for data in (b"login: ", b"GET / HT", b"\x00\x01\x02", b"passage one", b"[1, 2]", b"+OK\r"):
            self.assertEqual(stream.feed(data), [data])
        for data in (
            b"passing by\nhello there\n*not redis\r\n",
            b"*2\r\n$3\r\nGET\r\n$2\r\nab\r\n$x\r\n*1\r\nx",
            b'{"a": "' + b"b" * 200 + b'"} and more',
        ):
            for pieces in splits(data):
                self.assertEqual(shown(list(pieces)), data, pieces)

    def test_an_end_that_does_not_come(self) -> None:
        """It is not held back for ever: the rest of the line is hidden as it comes."""
        stream = SplitSecrets()
        found = stream.feed(b"OK\nPASS " + SECRET)
        self.assertEqual(found, [b"OK\n"])
        for _ in range(100):
            found += stream.feed(SECRET * 100)
        self.assertEqual(len(found), 2)
        self.assertIn(b"***", found[1])
        found += stream.feed(SECRET + b"\nnext\n")
        self.assertEqual(found[2:], [b"\nnext\n"])
        self.assertNotIn(SECRET, b"".join(found))

    def test_long_values(self) -> None:
        """A JSON value or a command that is larger than what is held back is shown in parts."""
        value = (
            b'{"a":[' + b'{"b":1},' * MOST_HELD_BACK + b'{"c":2},"password":"' + SECRET + b'"]}\n'
        )
        pieces = [value[place : place + 1000] for place in range(0, len(value), 1000)]
        self.assertGreater(len(shown(pieces)), len(value) - 100)
        for cut in range(len(value) - 40, len(value)):
            self.assertNotIn(b"cr3", shown([value[:cut], value[cut:]]), cut)
        command = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$9000\r\n" + b"x" * 5000
        self.assertEqual(SplitSecrets().feed(command), [command])
        secret = b"*2\r\n$4\r\nAUTH\r\n$9000\r\n" + SECRET * 1000
        self.assertNotIn(SECRET, shown([secret[:20], secret[20:]]))
