"""The servers, each with the code that its users write.

``python -m tests.foreign.servers NAME ENDPOINT REACTOR`` prints ``PORT n`` when the server listens,
and runs until it gets SIGTERM. ``eager`` means that reactor; any other, the one that is the default
or that the program installs.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from typing import Any

SIZE = 50_000_000
"""Bytes of a large transfer."""

CHUNK = 64 * 1024


def _listen(endpoint: str, factory: Any) -> None:
    from twisted.internet import reactor
    from twisted.internet.endpoints import serverFromString

    def listening(port: Any) -> None:
        print("PORT", port.getHost().port, flush=True)

    def failed(failure: Any) -> None:
        failure.printTraceback(sys.stderr)
        os._exit(1)

    serverFromString(reactor, endpoint).listen(factory).addCallbacks(listening, failed)
    reactor.run()  # type: ignore[attr-defined]


def klein(endpoint: str) -> None:
    """Serve HTTP/1.1 and HTTP/2: a small page, a large download, an upload, and a slow stream."""
    from klein import Klein
    from twisted.internet import reactor
    from twisted.internet.interfaces import IPullProducer
    from twisted.internet.task import deferLater
    from twisted.web.server import Site
    from zope.interface import implementer

    app = Klein()

    @app.route("/")
    def home(request: Any) -> bytes:
        return b"hello"

    @app.route("/upload", methods=["POST"])
    def upload(request: Any) -> bytes:
        return hashlib.sha256(request.content.read()).hexdigest().encode()

    @app.route("/whole")
    def whole(request: Any) -> bytes:
        """Return everything at once, without a producer."""
        return bytes(SIZE // 10)

    @implementer(IPullProducer)
    class Zeros:
        def __init__(self, request: Any, done: Any) -> None:
            self.request, self.done, self.left = request, done, SIZE

        def resumeProducing(self) -> None:
            size = min(CHUNK, self.left)
            self.request.write(bytes(size))
            self.left -= size
            if not self.left:
                self.stopProducing()

        def stopProducing(self) -> None:
            if not self.done.called:
                self.request.unregisterProducer()
                self.done.callback(None)

    @app.route("/large")
    def large(request: Any) -> Any:
        from twisted.internet.defer import Deferred

        done: Deferred[None] = Deferred()
        request.registerProducer(Zeros(request, done), False)
        return done

    @app.route("/slow")
    async def slow(request: Any) -> bytes:
        for number in range(5):
            request.write(b"%d\n" % number)
            await deferLater(reactor, 0.1, lambda: None)  # type: ignore[arg-type]
        return b"end\n"

    _listen(endpoint, Site(app.resource()))


def autobahn(endpoint: str) -> None:
    """Serve WebSocket echo by autobahn's own factory."""
    from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol

    class Echo(WebSocketServerProtocol):  # type: ignore[misc]
        def onMessage(self, payload: bytes, is_binary: bool) -> None:
            self.sendMessage(payload, is_binary)

    factory = WebSocketServerFactory()
    factory.protocol = Echo
    _listen(endpoint, factory)


def autobahn_resource(endpoint: str) -> None:
    """Serve WebSocket echo at ``/ws`` of a site, where autobahn takes the transport over."""
    from autobahn.twisted.resource import WebSocketResource
    from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
    from twisted.web.resource import Resource
    from twisted.web.server import Site

    class Echo(WebSocketServerProtocol):  # type: ignore[misc]
        def onMessage(self, payload: bytes, is_binary: bool) -> None:
            self.sendMessage(payload, is_binary)

    factory = WebSocketServerFactory()
    factory.protocol = Echo
    factory.startFactory()
    root = Resource()
    root.putChild(b"ws", WebSocketResource(factory))
    _listen(endpoint, Site(root))


def daphne(endpoint: str) -> None:
    """Serve an ASGI application: HTTP, and WebSocket echo at ``/ws``."""
    import daphne.server  # installs the asyncio reactor

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (event := await receive())["type"] == "websocket.receive":
                echo = {key: event[key] for key in ("bytes", "text") if event.get(key) is not None}
                await send({"type": "websocket.send", **echo})
            return
        content = hashlib.sha256()
        size, more = 0, True
        while more:
            event = await receive()
            content.update(event.get("body", b""))
            size += len(event.get("body", b""))
            more = event.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/large":
            for start in range(0, SIZE, CHUNK):
                body = bytes(min(CHUNK, SIZE - start))
                await send({"type": "http.response.body", "body": body, "more_body": True})
            body = b""
        else:
            body = content.hexdigest().encode() if size else b"hello"
        await send({"type": "http.response.body", "body": body})

    def ready() -> None:
        print("PORT", server.listening_addresses[0][1], flush=True)

    server: Any = daphne.server.Server(application, endpoints=[endpoint], ready_callable=ready)
    server.run()


def conch(endpoint: str) -> None:
    """Serve SSH with SFTP, which is what ``scp`` speaks. The user is ``anyone``, by any key."""
    from twisted.conch import avatar, unix
    from twisted.conch.interfaces import ISFTPServer
    from twisted.conch.ssh import factory, filetransfer, keys, session
    from twisted.cred.checkers import ICredentialsChecker
    from twisted.cred.credentials import ISSHPrivateKey
    from twisted.cred.portal import IRealm, Portal
    from twisted.internet.defer import succeed
    from twisted.python import components
    from twisted.python.filepath import FilePath
    from zope.interface import implementer

    class Session(session.SSHSession):
        def eofReceived(self) -> None:
            """Say that all went well; conch ends SFTP without a status, which ``scp`` reports."""
            self.conn.sendRequest(self, b"exit-status", bytes(4))
            super().eofReceived()

    class Anyone(avatar.ConchUser):
        def __init__(self) -> None:
            super().__init__()
            self.channelLookup[b"session"] = Session
            self.subsystemLookup[b"sftp"] = filetransfer.FileTransferServer

        def getHomeDir(self) -> Any:
            return FilePath(os.getcwd())

        def _runAsUser(self, function: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(function, list | tuple):  # several steps: the last one's result
                results = [step[0](*step[1], *step[2:]) for step in function]
                return results[-1]
            return function(*args, **kwargs)

    class File(unix.UnixSFTPFile):
        def setAttrs(self, attrs: Any) -> None:
            """Leave times and mode as they are; conch cannot set them, and ``scp`` asks for it."""

    class Files(unix.SFTPServerForUnixConchUser):
        def openFile(self, name: Any, flags: int, attrs: Any) -> File:
            return File(self, self._absPath(name), flags, attrs)

    components.registerAdapter(Files, Anyone, ISFTPServer)

    @implementer(IRealm)
    class Realm:
        def requestAvatar(self, name: Any, mind: Any, *interfaces: Any) -> Any:
            return interfaces[0], Anyone(), lambda: None

    @implementer(ICredentialsChecker)
    class AnyKey:
        credentialInterfaces = (ISSHPrivateKey,)

        def requestAvatarId(self, credentials: Any) -> Any:
            return succeed(credentials.username)

    key = keys.Key.fromFile("host_key")

    class SSH(factory.SSHFactory):
        portal = Portal(Realm(), [AnyKey()])
        publicKeys = {key.sshType(): key.public()}
        privateKeys = {key.sshType(): key}

    _listen(endpoint, SSH())


SERVERS: dict[str, Callable[[str], None]] = {
    "klein": klein,
    "autobahn": autobahn,
    "autobahn_resource": autobahn_resource,
    "daphne": daphne,
    "conch": conch,
}


if __name__ == "__main__":
    name, endpoint, reactor_name = sys.argv[1:4]
    if reactor_name == "eager":
        from twisted_net.eager import install

        install()
    SERVERS[name](endpoint)
