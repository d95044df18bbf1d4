"""A query that blocks runs in a thread, and the other clients are served meanwhile."""

import time
from typing import Any

from twisted.internet import task
from twisted.internet.threads import deferToThread

from twisted_net import Connection, serve


def query(line: bytes) -> bytes:
    time.sleep(5 if line == b"slow" else 0)
    return b"The answer to " + line


class Slow(Connection):
    async def message_received(self, line: bytes) -> None:
        self.send(await deferToThread(query, line))


async def main(reactor: Any) -> None:
    await serve(reactor, "tcp:8080", Slow)


if __name__ == "__main__":
    task.react(main)
