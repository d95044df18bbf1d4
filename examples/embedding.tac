"""Embedding in a twistd application: ``twistd -n --pidfile= -y embedding.tac``."""

import os

from twisted.application.service import Application
from twisted.application.strports import service
from twisted.internet import endpoints, reactor
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.static import Data

from twisted_net import IdleTimeoutFactory, Listener, ListenerService
from twisted_net.chat import ChatFactory

root = Resource()
root.putChild(b"", Data(b"Talk to us: nc localhost 8080\n", "text/plain"))
site = IdleTimeoutFactory(Site(root), seconds=30)

application = Application("a chat and a site")
chat_port, web_port = os.environ.get("PORT", "8080"), os.environ.get("WEB_PORT", "8081")
chat_endpoint = endpoints.serverFromString(reactor, f"tcp:{chat_port}")
chat = ListenerService(ChatFactory(), [Listener(chat_endpoint, "the chat")])
chat.setServiceParent(application)
service(f"tcp:{web_port}", site).setServiceParent(application)
