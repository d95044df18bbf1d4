"""The server that the cases are played against: ``python -m tests.autobahn.echo default|eager``.

It prints its port. Its limits are raised: the suite sends messages of 16 MiB, and some of 4 MiB in
65,536 fragments, which others may not do.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted_net import WebSocketConnection, WebSocketFactory
from twisted_net.wire import websocket

MOST_BYTES = 32 << 20
MOST_FRAGMENTS = 1 << 20
MOST_SECONDS = 120.0


class Echo(WebSocketConnection):
    """Sends back what it is sent."""

    def message_received(self, message: str | bytes) -> None:
        self.send(message)


def main(kind: str) -> None:
    """Serve until the standard input ends, on a port that the system chooses."""
    if kind == "eager":
        from twisted_net.eager import install

        install()
    from twisted.internet import reactor, stdio
    from twisted.internet.protocol import Protocol

    class EndOfInput(Protocol):
        def connectionLost(self, reason: object = None) -> None:
            if reactor.running:
                reactor.stop()

    websocket.MAX_FRAGMENTS = MOST_FRAGMENTS
    factory = WebSocketFactory.forProtocol(
        Echo, max_message=MOST_BYTES, queue_limit=2 * MOST_BYTES, message_timeout=MOST_SECONDS
    )
    port: Any = reactor.listenTCP(0, factory, interface="127.0.0.1")
    print(port.getHost().port, flush=True)
    stdio.StandardIO(EndOfInput())  # type: ignore[no-untyped-call]
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1])
