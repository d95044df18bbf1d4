"""An operator's view of your own server: connections, metrics for Prometheus, health.

Open ``http://localhost:9191`` in a browser, or run ``netchat-admin top``. The view of any other
Twisted factory is that of a ``GuardFactory`` around it.
"""

import sys
from typing import Any

from twisted.internet import task

from twisted_net import Connection, ConnectionFactory, Lines, serve
from twisted_net.web import AdminFactory


class Shout(Connection):
    framing = Lines

    def message_received(self, line: bytes) -> None:
        self.send(line.upper())


async def main(reactor: Any, port: str = "8080", admin_port: str = "9191") -> None:
    shout = ConnectionFactory.forProtocol(Shout, idle_timeout=600)
    view = AdminFactory({"shout": shout})
    local = f"tcp:{admin_port}:interface=127.0.0.1"  # other machines need a token
    await serve(reactor, f"tcp:{port}", shout, (local, view))


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
