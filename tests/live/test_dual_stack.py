"""One port for IPv6 and IPv4, on a machine whose sockets are for IPv6 only by default."""

from __future__ import annotations

import os
import sys

from twisted.trial.unittest import SkipTest

from tests.live.harness import LOCALHOST, LiveTestCase, Server, program

# A network of its own has a loopback interface that is down, and IFF_UP is flag 1 (netdevice(7)).
LOOPBACK_UP = """
import fcntl, socket, struct
SIOCSIFFLAGS = 0x8914
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", 1))
"""
START = """
echo 1 > /proc/sys/net/ipv6/bindv6only && "$0" -c "$1" && shift && exec "$@"
"""


class IPv6OnlyByDefaultTests(LiveTestCase):
    """``net.ipv6.bindv6only`` is 1, in a network namespace."""

    async def check_both(self, *arguments: str, label: str = "--port 0") -> None:
        """Start ``twistd -n``, and expect an echo over IPv4 and over IPv6."""
        if os.geteuid():
            raise SkipTest("only root makes a network namespace")
        server: Server = self.spawn(
            *(program("unshare"), "--net", "/bin/sh", "-c", START, sys.executable, LOOPBACK_UP),
            *self.command(*arguments),
            kind=Server,
        )
        port = await server.port(label)
        inside = (program("nsenter"), f"--net=/proc/{server.pid}/ns/net", program("nc"))
        for address in (LOCALHOST, "::1"):
            nc = self.spawn(*inside, address, str(port))
            nc.write(b"hello\n")
            await nc.expect(b"hello\n")

    async def test_port(self) -> None:
        """``--port`` serves both."""
        await self.check_both("netecho", "--port", "0")

    async def test_every_address(self) -> None:
        """``--interface ::`` means every address, as in Node."""
        await self.check_both("netecho", "--port", "0", "--interface", "::")

    async def test_tls_port_beside_it(self) -> None:
        """A port with TLS does not change this."""
        await self.check_both("netecho", "--port", "0", "--tls-port", "0", "--self-signed")
