"""After: a server of lines with twisted_net, ported from from_asyncio_before.py."""

import sys
from typing import Any

from twisted.internet import task

from twisted_net import Connection, ConnectionClosed, ConnectionFactory, serve


class Shout(Connection):
    async def connected(self) -> None:
        try:
            async for line in self:
                self.send(line.upper())
                await self.drained()
        except ConnectionClosed as problem:
            print("A connection ended:", problem)


async def main(reactor: Any, port: str = "8080") -> None:
    factory = ConnectionFactory.forProtocol(Shout, idle_timeout=60)
    await serve(reactor, f"tcp:{port}:interface=127.0.0.1", factory)


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
