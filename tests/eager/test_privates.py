"""Every private name is listed. An unexpected one is noticed, and the code works without it."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from OpenSSL import SSL
from twisted.internet import _newtls, abstract, base, endpoints, epollreactor, posixbase, tcp, unix
from twisted.internet.abstract import FileDescriptor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.logger import Logger, LogLevel, formatEvent, globalLogPublisher
from twisted.protocols import policies
from twisted.protocols import tls as stock_tls
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementedBy

import twisted_net
from twisted_net.eager import ports, privates, reactor_interfaces, tls, tls_sockets, transports
from twisted_net.eager import reactor as eager_reactor
from twisted_net.eager.privates import TABLE, Examples, Group, Kind, Private
from twisted_net.endpoints import client

HERE = Path(twisted_net.__file__).parent


def without(thing: Any, name: str) -> Any:
    """Return a copy of a module, class or object without one of its attributes."""
    if not inspect.isclass(thing):
        return SimpleNamespace(
            **{each: getattr(thing, each) for each in dir(thing) if each not in (name, "__class__")}
        )
    merged: dict[str, Any] = {}
    for cls in reversed(thing.__mro__[:-1]):
        merged |= vars(cls)
    return type("Copy", (), {k: v for k, v in merged.items() if k not in (name, "__slots__")})


class Changed(Examples):
    """The objects that rows are checked on, with one of them changed."""

    def __init__(self, where: str, change: Any) -> None:
        self.where = where
        self.change = change

    def holder(self, where: str) -> Any:
        found = super().holder(where)
        return self.change(found) if where == self.where else found

    def instance(self, where: str) -> Any:
        found = super().instance(where)
        return self.change(found) if found is not None and where == self.where else found


class ProbeTests(SynchronousTestCase):
    """What the probe reports."""

    def found(self, row: Private, where: str, change: Any) -> str:
        """Return what is wrong with a row after a change."""
        return privates.first_problem([row], Changed(where, change)) or ""

    def test_this_twisted(self) -> None:
        """The probe finds nothing wrong with the installed Twisted and pyOpenSSL."""
        for group in Group:
            self.assertIsNone(privates.problem(group), group)

    def test_gone(self) -> None:
        """A missing name is noticed, whatever its kind."""
        for row in TABLE:
            has_example = row.kind is not Kind.INSTANCE_ATTRIBUTE or Examples().instance(row.where)
            if row.name != "__init__" and has_example:
                found = self.found(row, row.where, lambda thing, row=row: without(thing, row.name))
                self.assertIn(f".{row.name} ", found)

    def test_not_used(self) -> None:
        """A name is noticed if no function uses it any more, or if the function is gone."""
        for row in TABLE:
            for name in row.used_by:
                user = name if ":" in name else f"{row.where.partition(':')[0]}:{name}"
                found = self.found(row, user, lambda thing: lambda self: None)
                self.assertEqual(found, f"{row} is not used by {user}")
        row = TABLE[0]

        def gone(thing: Any) -> Any:
            raise AttributeError("gone")

        self.assertIn("does not exist", self.found(row, row.used_by[0], gone))

    def test_every_row_can_be_noticed(self) -> None:
        """Every row has an example to check, or a function that uses it."""
        for row in TABLE:
            if row.kind is Kind.INSTANCE_ATTRIBUTE and Examples().instance(row.where) is None:
                self.assertTrue(row.used_by, row)

    def test_other_arguments(self) -> None:
        """A method that takes other arguments is noticed."""

        def method(self: Any, *arguments: Any, more: Any) -> None:
            """Takes an argument that we do not pass."""

        for row in TABLE:
            if row.kind is Kind.METHOD:

                def change(thing: Any, row: Private = row) -> Any:
                    return type("Copy", (thing,), {row.name: method})

                self.assertIn("takes other arguments", self.found(row, row.where, change))

    def test_other_values(self) -> None:
        """An attribute with a value of another type is noticed."""
        for row in TABLE:
            if row.kind in (Kind.CLASS_ATTRIBUTE, Kind.MODULE_NAME) and row.expects is not object:

                def change(thing: Any, row: Private = row) -> Any:
                    copied = without(thing, row.name)
                    setattr(copied, row.name, 1.5)
                    return copied

                self.assertEqual(self.found(row, row.where, change), f"{row} is 1.5")

    def test_a_new_attribute_of_stock_transports(self) -> None:
        """A new attribute set by Twisted's ``__init__`` is noticed: our transports do not call
        it."""
        self.patch(privates, "_SET_BY_SERVER", privates._SET_BY_SERVER - {"hostname"})
        self.assertEqual(
            privates.problem.__wrapped__(Group.TRANSPORTS),
            "twisted.internet.tcp.Server.__init__ sets hostname as well",
        )

    def test_failing_examples(self) -> None:
        """An error while checking is reported, not raised."""

        def fail(thing: Any) -> Any:
            raise RuntimeError("no")

        self.assertIn(
            "cannot be checked (RuntimeError: no)", self.found(TABLE[0], TABLE[0].where, fail)
        )


class TableTests(SynchronousTestCase):
    """The table matches the code."""

    def test_rows(self) -> None:
        """Each name is listed once, with its purpose."""
        self.assertEqual(len({(row.where, row.name, row.group) for row in TABLE}), len(TABLE))
        for row in TABLE:
            self.assertTrue(row.purpose, row)

    def test_every_private_name_is_listed(self) -> None:
        """Every private name of Twisted's that this package uses has a row. So has every private
        name that is defined neither here nor in Twisted."""
        theirs = {name for module in THEIRS for name in _names(inspect.getsource(module))}
        ours = [path.read_text() for path in (HERE / "eager").glob("*.py")]
        defined = {name for text in ours for name in _names(text, defined_only=True)}
        used = {name for text in ours for name in _names(text)}
        listed = {row.name for row in TABLE}
        self.assertEqual(used & theirs - listed - COINCIDENCES, set())
        self.assertEqual(used - defined - listed, set())

    def test_every_overridden_name_is_listed(self) -> None:
        """A name that both our and Twisted's classes define is public, or has a row. So a new name
        in Twisted that clashes with ours is noticed too."""
        listed = {row.name for row in TABLE}
        found = []
        for module in (transports, tls_sockets, ports, tls, eager_reactor):
            for cls in vars(module).values():
                if not inspect.isclass(cls) or cls.__module__ != module.__name__:
                    continue
                theirs = [
                    base
                    for base in cls.__mro__
                    if base.__module__.split(".")[0] in ("twisted", "OpenSSL")
                ]
                public = {
                    name
                    for base in theirs
                    for interface in implementedBy(base)
                    for name in interface.names(all=True)
                }
                for name in vars(cls):
                    taken = any(name in vars(base) for base in theirs)
                    if taken and name not in public | listed and not name.startswith("__"):
                        found.append(f"{cls.__name__}.{name}")
        documented = {
            "_abc_impl",
            "startTLS",
            "getWriters",
            "removeAll",
            "startListening",
            "protocol",
        }
        self.assertEqual([name for name in found if name.split(".")[1] not in documented], [])

    def test_nothing_else_inherits_one(self) -> None:
        """Outside this package, no class uses a private name of a class of Twisted's."""
        for found in pkgutil.walk_packages(twisted_net.__path__, "twisted_net."):
            if found.name.startswith("twisted_net.eager"):
                continue
            for cls in vars(importlib.import_module(found.name)).values():
                if inspect.isclass(cls) and cls.__module__ == found.name:
                    theirs = {
                        name
                        for base in cls.__mro__
                        if base.__module__.split(".")[0] in ("twisted", "OpenSSL")
                        for name in _names(_source(base))
                    }
                    self.assertEqual(theirs & set(_names(_source(cls))), set(), cls)

    def test_shared_keys_are_listed(self) -> None:
        """The attributes of Twisted's transports are the ones that we know."""
        listed = {row.name for row in TABLE} | {"fileno"}
        self.assertLessEqual(privates._SET_BY_SERVER, listed)


THEIRS = (abstract, tcp, unix, _newtls, posixbase, epollreactor, base, stock_tls, policies, SSL)
"""The modules of Twisted and pyOpenSSL whose private names this package may use."""

COINCIDENCES = {"_log", "_reactor", "_started"}
"""Private names that we and Twisted both use, for unrelated things."""


def _source(cls: type) -> str:
    return textwrap.dedent(inspect.getsource(cls))


def _names(text: str, defined_only: bool = False) -> Iterator[str]:
    """Yield the private names in a module: those that it defines or sets, or all."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                pass
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Name(id=name, ctx=ast.Store()):
                pass
            case ast.Attribute(attr=name, ctx=ast.Store()):
                pass
            case ast.Attribute(attr=name) if not defined_only:
                pass
            case ast.alias(name=name) if not defined_only:
                pass
            case _:
                continue
        if name.startswith("_") and not name.startswith("__"):
            yield name


class Unknowing(SynchronousTestCase):
    """A test that makes rows fail."""

    def setUp(self) -> None:
        self.warnings: list[str] = []

        def observe(event: Any) -> None:
            if event.get("log_level") is LogLevel.warn:
                self.warnings.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        self.forget()
        self.addCleanup(self.forget)

    def forget(self) -> None:
        """Clear the cached results of the probe."""
        for function in (privates.problem, privates.usable, privates._known):
            function.cache_clear()

    def without(self, *names: str) -> None:
        """Make the rows of these names fail."""

        def wrong(row: Private, examples: Examples) -> str:
            return "is wrong" if row.name in names else ""

        self.patch(privates, "_wrong_with", wrong)


class ConsequencesTests(Unknowing):
    """The consequences of a group that fails."""

    def test_all_is_well(self) -> None:
        """If all rows hold, there is no warning, and the reactor can be used."""
        for group in Group:
            self.assertTrue(privates.usable(group))
        privates.require_reactor()
        self.assertEqual(self.warnings, [])

    def test_transports(self) -> None:
        """One warning names the first problem. TLS is disabled without another warning."""
        self.without("_tempDataLen", "_makeTransport", "_ssl")
        for _ in range(2):
            self.assertFalse(privates.usable(Group.TRANSPORTS))
            self.assertFalse(privates.usable(Group.TLS))
        self.assertEqual(
            self.warnings,
            [
                "twisted_net does not support this Twisted or pyOpenSSL: "
                "twisted.internet.tcp.Server._tempDataLen is wrong. "
                "Therefore connections have Twisted's own transports, which are slower."
            ],
        )

    def test_tls(self) -> None:
        """The transports can still be used."""
        self.without("_ssl")
        self.assertTrue(privates.usable(Group.TRANSPORTS))
        self.assertFalse(privates.usable(Group.TLS))
        self.assertIs(reactor_interfaces.tls_factory(), TLSMemoryBIOFactory)
        self.assertEqual(len(self.warnings), 1)
        self.assertIn("OpenSSL.SSL.Connection._ssl is wrong", self.warnings[0])
        self.assertIn("TLS is Twisted's own", self.warnings[0])

    def test_the_reactor(self) -> None:
        """The reactor is not installed, and the error is one line that names the problem."""
        for name in ("_poller", "_tempDataLen"):
            self.forget()
            self.without(name)
            error = self.assertRaises(ImportError, eager_reactor.install)
            self.assertIn(f"{name} is wrong", str(error))
            self.assertNotIn("\n", str(error))
        self.assertEqual(self.warnings, [])


class UnsentTests(SynchronousTestCase):
    """The send position of a transport."""

    def test_twisteds_own(self) -> None:
        """The queue minus the sent part counts; a wrapper has the count of the transport inside."""
        transport = FileDescriptor(reactor=object())  # type: ignore[arg-type]
        self.assertEqual(privates.unsent(transport), 0)
        transport.dataBuffer, transport.offset = b"abcde", 2
        transport._tempDataBuffer, transport._tempDataLen = [b"fg", b"h"], 3
        wrapped = ProtocolWrapper(WrappingFactory(Factory()), Protocol())
        wrapped.transport = ProtocolWrapper(WrappingFactory(Factory()), Protocol())
        wrapped.transport.transport = transport
        for each in (transport, wrapped):
            self.assertEqual(privates.unsent(each), 6)
            self.assertEqual(privates.send_position(each), (id(transport.dataBuffer), 2))

    def test_others(self) -> None:
        """A transport without these attributes and without a count of its own counts 0."""
        self.assertEqual(privates.unsent(StringTransport()), 0)
        self.assertEqual(privates.send_position(StringTransport()), (0, 0))
        self.assertEqual(privates.unsent(SimpleNamespace(unsent_bytes=7)), 7)
        odd = SimpleNamespace(dataBuffer=None, offset=None, _tempDataLen=None)
        self.assertEqual(privates.unsent(odd), 0)


class InnerProtocolTests(SynchronousTestCase):
    """The protocol inside a protocol of Twisted's."""

    def test_wrappers(self) -> None:
        """It is found in wrappers such as TLS and in those of client endpoints; others have
        none."""
        inner = Protocol()
        wrapper = ProtocolWrapper(WrappingFactory(Factory()), inner)
        before = endpoints._WrappingProtocol(None, inner)  # type: ignore[no-untyped-call]
        for outer in (wrapper, before):
            self.assertIs(privates.inner_protocol(outer), inner)
        self.assertIsNone(privates.inner_protocol(inner))
        self.assertIsNone(privates.inner_protocol(None))


class OthersTests(Unknowing):
    """Functions that work without a name."""

    def test_the_log_of_a_port(self) -> None:
        """A port's logger is found, and can be replaced."""
        port: Any = tcp.Port(0, Factory(), reactor=object())
        self.assertIsInstance(privates.log_of_port(port), Logger)
        logger = Logger(namespace="another")
        privates.set_log_of_port(port, logger)
        self.assertIs(privates.log_of_port(port), logger)

    def test_no_log_of_a_port(self) -> None:
        """One warning is logged for ports of Twisted's, none for others."""
        self.without("_logger")
        self.assertIsNone(privates.log_of_port(object()))
        self.assertEqual(self.warnings, [])
        port: Any = tcp.Port(0, Factory(), reactor=object())
        port._logger = None
        for _ in range(2):
            self.assertIsNone(privates.log_of_port(port))
        self.assertEqual(len(self.warnings), 1)
        self.assertIn("twisted.internet.tcp.Port._logger is wrong", self.warnings[0])

    def test_a_loss_held_back(self) -> None:
        """A lost connection is not reported until the function is called."""
        told: list[Any] = []
        proxy = SimpleNamespace(_lostNotification=told.append)
        tell_again: Any = privates.hold_back_loss(proxy)
        proxy._lostNotification("early")
        tell_again()
        proxy._lostNotification("late")
        self.assertEqual(told, ["late"])

    def test_no_loss_to_hold_back(self) -> None:
        """Without the name, the service does not wait for the handshake."""
        self.without("_lostNotification")
        self.assertIsNone(privates.hold_back_loss(object()))
        self.assertEqual(len(self.warnings), 1)
        prepared = client._prepare(object())
        self.assertIsNone(self.successResultOf(prepared))

    def test_groups(self) -> None:
        """The first list that OpenSSL knows is used."""
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self.assertTrue(privates.limit_groups(context, (b"no-such-group", b"P-256")))
        self.assertFalse(privates.limit_groups(context, (b"no-such-group",)))
        self.assertEqual(self.warnings, [])

    def test_sessions_of_an_unknown_openssl(self) -> None:
        """Sessions are resumed as OpenSSL allows it, and nobody can see whether they were."""
        self.without("SSL_session_reused", "i2d_SSL_SESSION", "_context")
        self.assertFalse(privates.is_resumed(object()))
        privates.make_resumable(object())
        self.assertIsNone(privates.context_address(object()))
        self.assertEqual(len(self.warnings), 3)

    def test_no_groups(self) -> None:
        """The groups stay OpenSSL's own, with one warning."""
        self.without("SSL_CTX_set1_curves_list")
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        for _ in range(2):
            self.assertFalse(privates.limit_groups(context, (b"P-256",)))
        self.assertEqual(len(self.warnings), 1)
