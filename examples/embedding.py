"""Embedding: the complete chat and a twisted.web site in one process; the site uses the chat.

``curl localhost:8081`` counts the users. ``curl -d "Lunch!" localhost:8081`` tells them something.
"""

import sys
from typing import Any

from twisted.internet import task
from twisted.web.resource import Resource
from twisted.web.server import Site

from twisted_net import printable, serve
from twisted_net.chat import ChatFactory

chat = ChatFactory()


class Page(Resource):
    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        return b"In the chat: %d\n" % len(chat)

    def render_POST(self, request: Any) -> bytes:
        chat.send_to_all("* " + printable(request.content.read().decode(errors="replace")))
        return self.render_GET(request)


async def main(reactor: Any, port: str = "8080", web_port: str = "8081") -> None:
    await serve(reactor, f"tcp:{port}", chat, (f"tcp:{web_port}", Site(Page())))


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
