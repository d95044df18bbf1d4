"""Wrong programs are told what to write instead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from functools import partial
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineReceiver
from twisted.protocols.policies import TimeoutMixin
from twisted.trial.unittest import SynchronousTestCase

from tests.connection.recording import Recorder, factory_of, made
from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.policy.close_reasons import FAILED
from twisted_net.testing import Peer, connect_peer
from twisted_net.wire.framing import (
    BaseFraming,
    JsonLines,
    LengthPrefixed,
    Lines,
    LocalProtocolError,
    Netstrings,
    Raw,
)


def define(*bases: type, **attributes: Any) -> type[Connection]:
    """Define the class ``Shout``, as a user would."""
    return type("Shout", bases or (Connection,), attributes)


def method(name: str, act: Callable[..., Any] = lambda *arguments: None) -> Callable[..., Any]:
    """Return a method of this name that no other method calls."""
    scope: dict[str, Any] = {"act": act}
    exec(f"def {name}(self, *arguments): return act(self, *arguments)", scope)
    return scope[name]  # type: ignore[no-any-return]


class HookNameTests(SynchronousTestCase):
    def assert_named(self, name: str, right: str) -> None:
        """Check that a class with the method ``name`` is refused, and ``right`` is suggested."""
        with self.assertRaises(TypeError) as caught:
            define(**{name: method(name)})
        said = str(caught.exception)
        self.assertIn(f"Shout.{name}()", said)
        self.assertIn(f"{right}()", said)

    def test_other_frameworks_names(self) -> None:
        """A hook with its name in Twisted or asyncio would never be called."""
        for name, right in (
            ("messageReceived", "message_received"),
            ("lineReceived", "message_received"),
            ("rawDataReceived", "message_received"),
            ("stringReceived", "message_received"),
            ("data_received", "message_received"),
            ("connection_made", "connected"),
            ("connection_lost", "disconnected"),
            ("eofReceived", "eof_received"),
            ("idleExpired", "idle_expired"),
            ("handshakeFailed", "handshake_failed"),
            ("missedNotice", "missed_notice"),
        ):
            self.assert_named(name, right)

    def test_replaced_internals(self) -> None:
        """A method of the connection itself can be extended, but not replaced."""
        for name, right in (
            ("dataReceived", "message_received"),
            ("connectionMade", "connected"),
            ("makeConnection", "connected"),
            ("connectionLost", "disconnected"),
            ("readConnectionLost", "eof_received"),
            ("handshakeCompleted", "connected"),
        ):
            self.assert_named(name, right)

    def test_extended_internals(self) -> None:
        """What calls the connection's own method, by any way, is allowed."""

        class Extending(Recorder):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data.upper())

            def connectionMade(self) -> None:
                Connection.connectionMade(self)

            def connectionLost(self, reason: Any = None) -> None:
                (lambda: super(Extending, self).connectionLost(reason))()

        connection, peer = made(Extending)
        peer.send(b"a\n")
        self.assertEqual(connection.events, ["connected", b"A"])

    def test_decorated_internals(self) -> None:
        """Nothing is known about what a decorator calls."""

        def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
            def inner(*arguments: Any) -> Any:
                return function(*arguments)

            return inner

        define(dataReceived=decorated(method("dataReceived")))

    def test_second_protocol(self) -> None:
        """A connection that is a LineReceiver as well is neither."""
        for bases in ((Connection, LineReceiver), (LineReceiver, Connection)):
            with self.assertRaisesRegex(TypeError, r"Shout.*LineReceiver.*framing"):
                define(*bases)

    def test_mixins(self) -> None:
        """A class before the connection can replace its methods; one after it cannot."""

        class Counting:
            def connectionMade(self) -> None:
                """Count."""

        with self.assertRaisesRegex(TypeError, r"Counting\.connectionMade\(\) replaces.*connected"):
            define(Counting, Connection)
        define(Connection, Counting)

    def test_helpers(self) -> None:
        """A method that a hook calls may have any name. So may one beside the hook."""

        class Calls(Recorder):
            def message_received(self, message: bytes) -> None:
                self.lineReceived(message)

            def lineReceived(self, line: bytes) -> None:
                self.events.append(line)

        class Overrides(Calls):
            def lineReceived(self, line: bytes) -> None:
                self.events.append(line * 2)

        connection, peer = made(Overrides)
        peer.send(b"a\n")
        self.assertEqual(connection.events, ["connected", b"aa"])
        define(message_received=method("message_received"), data_received=method("data_received"))
        define(TimeoutMixin, Connection, timeoutConnection=method("timeoutConnection"))

    def test_endless_wrapper(self) -> None:
        """An attribute that pretends to wrap a function, as ``mock.call`` does, is no obstacle."""
        with self.assertRaisesRegex(TypeError, r"message_received\(\)"):
            define(lineReceived=method("lineReceived"), call=mock.call)

    def test_likely_names(self) -> None:
        """A name that is probably a misspelt hook gets a warning: it could be a helper."""
        for name, right in (
            ("message_recieved", "message_received"),
            ("mesage_received", "message_received"),
            ("on_message", "message_received"),
            ("on_connect", "connected"),
            ("on_disconnect", "disconnected"),
            ("connection_closed", "disconnected"),
        ):
            define(**{name: method(name)})
            (warning,) = self.flushWarnings()
            self.assertIn(f"Shout.{name}()", warning["message"])
            self.assertIn(f"{right}()", warning["message"])

    def test_unlikely_names(self) -> None:
        """Similar names with a meaning of their own get none."""
        for name in ("connect", "disconnect", "receive", "send_message", "idle"):
            define(**{name: method(name)})
        define(Recorder, on_message=method("on_message"))
        self.assertEqual(self.flushWarnings(), [])


class HookKindTests(SynchronousTestCase):
    def test_generators(self) -> None:
        """A hook with a bare ``yield`` would never run."""

        def message_received(self: Any, message: bytes) -> Generator[Any, Any, None]:
            yield succeed(None)

        for name in ("connected", "message_received", "disconnected", "idle_expired"):
            with self.assertRaisesRegex(TypeError, rf"Shout\.{name}\(\).*yield.*inlineCallbacks"):
                define(**{name: message_received})

    def test_async_generators(self) -> None:
        """So would an async one."""

        async def message_received(self: Any, message: bytes) -> Any:
            yield message

        with self.assertRaisesRegex(TypeError, r"Shout\.message_received\(\).*yield"):
            define(message_received=message_received)

    def test_returned_generators(self) -> None:
        """A generator that only a call shows closes the connection, as any fault of a hook."""
        generators = method("message_received", lambda *arguments: (each for each in "ab"))
        connection, peer = made(define(Recorder, message_received=generators))
        peer.send(b"a\n")
        (failure,) = self.flushLoggedErrors(TypeError)
        self.assertIn("Shout", str(failure.value))
        self.assertIn("inlineCallbacks", str(failure.value))
        self.assertEqual(connection.reason, FAILED)

    def test_inline_callbacks(self) -> None:
        """With inlineCallbacks, it runs."""

        class Inline(Recorder):
            @inlineCallbacks
            def message_received(  # type: ignore[override]
                self, message: bytes
            ) -> Generator[Deferred[Any], Any, None]:
                self.events.append((yield succeed(message)))

        connection, peer = made(Inline)
        peer.send(b"a\n")
        self.assertEqual(connection.events[1:], [b"a"])

    def test_async_where_nothing_waits(self) -> None:
        """A hook that nothing waits for cannot be async: its body would never run."""

        async def hook(self: Any, *arguments: Any) -> None:
            """Do nothing."""

        for name in (
            "disconnected",
            "idle_expired",
            "eof_received",
            "handshake_failed",
            "missed_notice",
        ):
            with self.assertRaisesRegex(TypeError, rf"Shout\.{name}\(\).*async.*fromCoroutine"):
                define(**{name: hook})


class FramingTests(SynchronousTestCase):
    def assert_refused(self, framing: Any, text: str) -> None:
        """Check that a class with this framing is refused with a text."""
        with self.assertRaisesRegex(TypeError, text):
            define(framing=framing)

    def test_not_callable(self) -> None:
        """A name or an instance is not a framing's class."""
        self.assert_refused("lines", r"Shout\.framing: .*framing = Lines, not 'lines'")
        self.assert_refused("json_lines", r"framing = JsonLines")
        self.assert_refused(Lines(), r"framing = Lines, not Lines\(\)")
        self.assert_refused(LengthPrefixed(2), r"framing = partial\(LengthPrefixed, \.\.\.\)")
        self.assert_refused(None, r"Shout\.framing: .*not None")

    def test_set_later(self) -> None:
        """A framing that is set after the class was defined is checked by the factory."""
        late: Any = define()
        late.framing = "lines"
        with self.assertRaisesRegex(TypeError, r"Shout\.framing: .*framing = Lines, not 'lines'"):
            factory_of(late)

    def test_incomplete(self) -> None:
        """A framing lacks a part."""

        class Mute:
            def __init__(self, *, max_size: int) -> None:
                """Take the limit."""

            def feed(self, data: bytes) -> list[bytes]:
                return [data]

            def encode(self, message: bytes) -> bytes:
                return message

        class Unparsed(BaseFraming[bytes]):
            pending = False

            def encode(self, message: bytes) -> bytes:
                return message

        class Unpending(BaseFraming[bytes]):
            def parse(self, data: bytes, messages: list[bytes]) -> None:
                """Find nothing."""

            def encode(self, message: bytes) -> bytes:
                return message

        self.assert_refused(Mute, r"Shout\.framing: Mute has no 'pending'")
        self.assert_refused(partial(Mute), r"Mute has no 'pending'")
        self.assert_refused(Unparsed, r"Unparsed has no 'parse'")
        self.assert_refused(Unpending, r"Unpending has no 'pending'")
        self.assert_refused(type("E", (Unparsed,), {"encode": None}), "has no")
        self.assert_refused(dict, r"dict has no 'feed'")

    def test_complete(self) -> None:
        """Attributes that only an instance has are enough."""

        class Set:
            def __init__(self, *, max_size: int) -> None:
                self.pending = False

            def feed(self, data: bytes) -> list[bytes]:
                return [data]

            def encode(self, message: bytes) -> bytes:
                return message

        class Passing:
            def __init__(self, **settings: Any) -> None:
                self.inner = Lines(**settings)

            def __getattr__(self, name: str) -> Any:
                return getattr(self.inner, name)

        for each in (Set, Passing, lambda **settings: Lines(**settings)):
            peer = connect_peer(factory_of(define(Recorder, framing=each)))
            peer.send(b"a\n")
            self.assertEqual(len(peer.protocol.events), 2)

    def test_without_limit(self) -> None:
        """What makes a framing must take ``max_size``."""

        class Fixed(Lines):
            def __init__(self) -> None:
                super().__init__(max_size=9)

        self.assert_refused(Fixed, r"Shout\.framing: Fixed\(\) must take the keyword 'max_size'")
        self.assert_refused(lambda size: Lines(max_size=size), "must take the keyword 'max_size'")


class SendTests(SynchronousTestCase):
    def test_wrong_types(self) -> None:
        """Every framing says what it sends. Nothing is sent, and the connection stays open."""
        for framing in (Lines, Raw, Netstrings, LengthPrefixed):
            for wrong in (42, None, 0, [], {}, [b"a"], object()):
                connection, peer = made(define(Recorder, framing=framing))
                with self.assertRaises(LocalProtocolError) as caught:
                    connection.send(wrong)
                said = str(caught.exception)
                self.assertIn("bytes", said)
                self.assertIn(f"not {type(wrong).__name__}", said)
                self.assertEqual((connection.bytes_sent, peer.received), (0, b""))
                self.assertIsNone(connection.reason)

    def test_text(self) -> None:
        """Framings of bytes say how text becomes bytes."""
        for framing in (Raw, Netstrings, LengthPrefixed):
            for text in ("abc", ""):
                connection, peer = made(define(Recorder, framing=framing))
                with self.assertRaisesRegex(LocalProtocolError, r"not str.*encode\(\)"):
                    connection.send(text)
                self.assertEqual((connection.bytes_sent, peer.received), (0, b""))

    def test_encoded(self) -> None:
        """What is already framed is bytes, also while the transport is full."""
        for is_full in (False, True):
            connection, _ = made(Recorder)
            if is_full:
                connection.pauseProducing()
            for send in (connection.send_encoded, connection.send_at_once):
                for wrong in ("abc", "", 42, None, [b"a"]):
                    self.assertRaises(LocalProtocolError, send, wrong)
            self.assertEqual((connection.bytes_sent, connection.queued), (0, 0))

    def test_other_bytes(self) -> None:
        """What changes later is copied when it is sent."""
        connection, peer = made(define(Recorder, framing=Raw))
        data = bytearray(b"abc")
        connection.send(data)
        connection.send(memoryview(b"def"))
        connection.send_at_once(bytearray(b"ghi"))
        data[:] = b"xxx"
        self.assertEqual(peer.received, b"abcdefghi")

    def test_to_all(self) -> None:
        """The factory's send_to_all says the same."""
        factory = factory_of(Recorder)
        connect_peer(factory)
        with self.assertRaisesRegex(LocalProtocolError, "not int"):
            factory.send_to_all(42)

    def test_too_early(self) -> None:
        """A connection without a transport says when it can send."""
        connection = Recorder()
        for send in (connection.send, connection.send_encoded, connection.send_at_once):
            with self.assertRaisesRegex(LocalProtocolError, r"connected\(\)"):
                send(b"a")

    def test_too_late(self) -> None:
        """After the end, sending returns False."""
        for framing in (Lines, Raw, JsonLines):
            connection, peer = made(define(Recorder, framing=framing))
            peer.reset()
            self.assertIs(connection.send("a" if framing is JsonLines else b"a"), False)


class FactoryTests(SynchronousTestCase):
    def test_twisted_factory(self) -> None:
        """A connection made by another factory says which it needs."""
        factory: Any = Factory.forProtocol(Recorder)
        with self.assertRaisesRegex(TypeError, r"Recorder.*ConnectionFactory\.forProtocol"):
            factory.buildProtocol(None).makeConnection(Peer(factory_of(Recorder).clock))  # type: ignore[arg-type]
        with self.assertRaisesRegex(TypeError, "ConnectionFactory"):
            Recorder().makeConnection(None)

    def test_other_protocols(self) -> None:
        """The factory makes connections. For other protocols, there is GuardFactory."""
        wrong: Any
        for wrong in (LineReceiver, LineReceiver()):
            with self.assertRaisesRegex(TypeError, r"GuardFactory.*LineReceiver"):
                ConnectionFactory.forProtocol(wrong)
        wrong = Recorder()
        with self.assertRaisesRegex(TypeError, r"forProtocol\(Recorder\), not Recorder\(\)"):
            ConnectionFactory.forProtocol(wrong)
        for wrong in ("Recorder", None):
            with self.assertRaisesRegex(TypeError, "a Connection class.*not"):
                ConnectionFactory.forProtocol(wrong)

    def test_limits_as_text(self) -> None:
        """A limit that is no number is named."""
        for wrong in ("60", None, [1]):
            with self.assertRaisesRegex(ValueError, r"idle_timeout: must be a number.*not "):
                factory_of(Recorder, idle_timeout=wrong)


class AsyncioTests(SynchronousTestCase):
    def assert_explained(self, hook: Any) -> None:
        """Check that the detail of a failed hook says what to await instead."""
        connection, peer = made(define(Recorder, message_received=hook))
        peer.send(b"a\n")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertIn("deferLater", connection.detail)
        self.assertIn("fromFuture", connection.detail)

    def test_no_loop(self) -> None:
        """On a reactor that is not asyncio's, ``asyncio.sleep`` has no loop."""

        async def message_received(self: Any, message: bytes) -> None:
            await asyncio.sleep(1)

        self.assert_explained(message_received)

    def test_bare_future(self) -> None:
        """On asyncio's reactor, a future is not a Deferred."""
        loop = asyncio.new_event_loop()
        self.addCleanup(loop.close)

        async def message_received(self: Any, message: bytes) -> None:
            await loop.create_future()

        self.assert_explained(message_received)

    def test_other_errors(self) -> None:
        """Another error stays as it is."""
        connection, peer = made(Recorder)
        peer.send(b"fail\n")
        self.flushLoggedErrors(RuntimeError)
        self.assertEqual(connection.detail, "the hook fails")
