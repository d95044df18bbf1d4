"""Before: a room of lines with twisted.protocols. from_twisted_after.py is the same, ported."""

import sys
from typing import Any

from twisted.internet import defer, endpoints, task
from twisted.protocols import basic, policies


class Member(basic.LineOnlyReceiver, policies.TimeoutMixin):
    factory: Any
    delimiter, MAX_LENGTH = b"\n", 4096

    def connectionMade(self) -> None:
        self.setTimeout(self.factory.seconds)
        self.factory.members.add(self)
        self.sendLine(b"Members: %d" % len(self.factory.members))

    def lineReceived(self, line: bytes) -> None:
        self.resetTimeout()
        for other in self.factory.members - {self}:
            other.sendLine(line)

    def connectionLost(self, reason: Any = None) -> None:
        self.setTimeout(None)
        self.factory.members.discard(self)


async def main(reactor: Any, port: str = "8080", seconds: str = "600") -> None:
    room: Any = policies.LimitTotalConnectionsFactory()
    room.protocol, room.connectionLimit = Member, 200
    room.members, room.seconds = set(), float(seconds)
    listening = await endpoints.serverFromString(reactor, f"tcp:{port}").listen(room)
    print("Listening on port", listening.getHost().port)
    await defer.Deferred()


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
