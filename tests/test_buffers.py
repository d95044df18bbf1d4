"""Sockets with small buffers: :mod:`tests.buffers`."""

from __future__ import annotations

import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests import buffers
from tests.buffers import MANY, more_than_buffers, most_held, tcp_pair, unix_pair


class BoundedTests(SynchronousTestCase):
    """Sockets with small buffers."""

    def taken(self, sock: socket.socket) -> int:
        """Send until the socket is full, and return how much it took."""
        sock.setblocking(False)
        total = 0
        while total < MANY:
            try:
                total += sock.send(b"x" * (MANY - total))
            except BlockingIOError:
                break
        return total

    def test_a_pair_is_full_long_before(self) -> None:
        """Each side takes far less than MANY bytes while the other does not read."""
        for make in (tcp_pair, unix_pair):
            for side in (0, 1):
                pair = make()
                with pair[0], pair[1]:
                    self.assertLess(self.taken(pair[side]), MANY // 4, make)

    def test_unbounded_ones_are_as_large_as_the_machine_says(self) -> None:
        """The amount for a server's socket comes from the kernel's own figures."""
        where = Path(self.mktemp())
        where.mkdir()
        (where / "tcp_wmem").write_text("4096\t16384\t67108864\n")
        (where / "tcp_rmem").write_text("4096\t131072\t1000000\n")
        self.patch(buffers, "Path", lambda _, name: where / name)
        self.assertEqual(most_held(), 68108864)
        self.assertEqual(more_than_buffers(), 67108864 + MANY)
        self.assertEqual(more_than_buffers(between=2), 67108864 + 2 * 68108864 + MANY)
        (where / "tcp_wmem").unlink()
        self.assertEqual(more_than_buffers(), (6 << 20) + MANY)
