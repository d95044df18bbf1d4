"""A chat client tells its program why it is not connected."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectingCancelledError, DNSLookupError
from twisted.internet.interfaces import IStreamClientEndpoint
from zope.interface import implementer

from tests.chat.client_peers import WELCOME, ScriptedCase
from twisted_net.policy.close_reasons import HANDSHAKE


@implementer(IStreamClientEndpoint)
class Never:
    """An endpoint whose attempts last until they are cancelled.

    :param error: how they fail then.
    """

    def __init__(self, error: Exception) -> None:
        self._error = error

    def connect(self, factory: object) -> Deferred[object]:
        return Deferred(lambda attempt: attempt.errback(self._error))


class DisconnectedTests(ScriptedCase):
    """``on_disconnected``."""

    def setUp(self) -> None:
        super().setUp()
        self.told: list[str] = []

    def test_attempts_that_fail(self) -> None:
        """Each is told with its reason."""
        self.server.up = False
        self.client(on_disconnected=self.told.append)
        self.wait_for_attempt()
        self.assertEqual(len(self.told), 2)
        self.assertIn("nobody listens", self.told[0])

    def test_a_connection_that_ends(self) -> None:
        """It is told once, when the client is no longer online."""
        states = []
        client = self.online(on_disconnected=lambda why: states.append((why, client.state.online)))
        self.now.peer.write_eof()
        self.pass_time(0)
        ((why, online),) = states
        self.assertIn("closed", why)
        self.assertFalse(online)

    def test_a_goodbye(self) -> None:
        """Its text is the reason."""
        self.online(on_disconnected=self.told.append)
        self.now.say({"type": "goodbye", "code": "draining", "text": "See you.", "retry": True})
        self.now.peer.write_eof()
        self.pass_time(0)
        self.assertEqual(self.told, ["the server says goodbye: draining: See you."])

    def test_a_handshake_that_fails(self) -> None:
        """A certificate that is not trusted is told, too: there never is a connection."""
        self.client(on_disconnected=self.told.append)
        self.now.peer.protocol.handshake_failed(HANDSHAKE)
        self.assertEqual(self.told, [f"{HANDSHAKE.text} ({HANDSHAKE.code})"])

    def test_the_end_of_the_client(self) -> None:
        """A client that was stopped or is refused for good does not tell: it tries no more."""
        client = self.online(on_disconnected=self.told.append)
        client.stopService()
        self.pass_time(0)
        self.online(on_disconnected=self.told.append)
        self.now.say({"type": "goodbye", "code": "banned", "text": "No.", "retry": False})
        self.now.peer.write_eof()
        self.pass_time(0)
        self.assertEqual(self.told, [])

    def test_an_attempt_that_is_cancelled(self) -> None:
        """Stopping while the client connects is no failure, nor while it looks up a host name."""
        for error in (
            ConnectingCancelledError(None),  # type: ignore[arg-type]
            DNSLookupError("Couldn't find the hostname 'localhost'."),
        ):
            self.server.connect = Never(error).connect  # type: ignore[method-assign]
            client = self.client(on_disconnected=self.told.append)
            client.stopService()
            self.assertEqual(self.told, [])

    def test_a_callback_that_fails(self) -> None:
        """It is logged, and the client connects again."""

        def fail(why: str) -> None:
            raise RuntimeError(why)

        self.online(on_disconnected=fail)
        self.now.peer.write_eof()
        self.wait_for_attempt()
        self.now.say(WELCOME)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
