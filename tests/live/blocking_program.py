"""A server with a hook that blocks, for :mod:`tests.live.test_loops`.

``python -m tests.live.blocking_program REACTOR`` sends it two messages, and prints its log.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from twisted.internet import endpoints, task
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from twisted_net import Connection, ConnectionFactory, connect
from twisted_net.eager import eager


class Slow(Connection):
    def message_received(self, message: bytes) -> None:
        if message == b"sleep":
            time.sleep(2)
        elif message == b"compute":
            end = time.monotonic() + 2.5
            while time.monotonic() < end:
                pass
        self.send(message)


def show(event: LogEvent) -> None:
    level = event["log_level"].name
    if level != "debug":
        print(f"{level}: {formatEvent(event)}", flush=True)


async def main(reactor: Any, *messages: str) -> None:
    globalLogPublisher.addObserver(show)
    endpoint = endpoints.TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
    port = await endpoint.listen(ConnectionFactory.forProtocol(Slow))
    client = await connect(eager(reactor), ("127.0.0.1", port.getHost().port), Connection)
    for message in messages:
        client.send(message)
        await anext(aiter(client))
    await task.deferLater(reactor, 1)  # until the timers have run again
    client.close()


if __name__ == "__main__":
    from twisted.application import reactors

    reactors.installReactor(sys.argv[1])
    task.react(main, sys.argv[2:])
