"""The pages for those who come from Twisted and asyncio: the names of both sides exist."""

from __future__ import annotations

import inspect
from types import ModuleType

from twisted.internet import endpoints, protocol
from twisted.protocols import basic, policies
from twisted.trial.unittest import SynchronousTestCase

from tests.guide_names import DOCS, LEFT_OUT, is_known, problem, rows

TWISTED, ASYNCIO = DOCS / "from-twisted.rst", DOCS / "from-asyncio.rst"

WHERE = (
    *("twisted.internet.protocol", "twisted.protocols.basic", "twisted.protocols.policies"),
    *("twisted.internet.interfaces", "twisted.internet.endpoints", "twisted.internet.ssl"),
    *("twisted.application.internet", "twisted.internet.testing", "twisted.internet.task"),
)
"""The modules of Twisted whose names stand on the page without them."""

NOT_OURS = {
    # consumers and files around Twisted's own producers; unchanged
    *("ProtocolToConsumerAdapter", "ConsumerToProtocolAdapter", "FileWrapper", "BaseProtocol"),
    # of datagrams and processes, which the page names by one class each
    *("AbstractDatagramProtocol", "ConnectedDatagramProtocol", "ProcessEndpoint"),
    *("StandardIOEndpoint", "StandardErrorBehavior"),
    # as their neighbours
    *("TCP6ServerEndpoint", "TCP4ClientEndpoint", "TCP6ClientEndpoint", "SSL4ClientEndpoint"),
    "UNIXClientEndpoint",
}
"""Public classes of Twisted that need no row, and why."""


def exists_in_twisted(name: str) -> bool:
    """Return whether a name exists in one of the modules of Twisted."""
    return any(is_known(f"{module}.{name}") for module in WHERE)


def classes_of(module: ModuleType) -> set[str]:
    """Return the public classes that a module defines."""
    return {
        name
        for name, found in inspect.getmembers(module, inspect.isclass)
        if found.__module__ == module.__name__ and not name.startswith("_")
    }


class NameTests(SynchronousTestCase):
    """The tables."""

    def test_every_name_of_ours_exists(self) -> None:
        """Our names can be used as they are written."""
        for page, least in ((TWISTED, 90), (ASYNCIO, 60)):
            names = [name for row in rows(page) for name in row.our_names]
            self.assertGreater(len(names), least)
            wrong = {name: problem(name) for name in names if problem(name)}
            self.assertEqual(wrong, {}, page.name)

    def test_every_name_of_theirs_exists(self) -> None:
        """So can the names of Twisted and asyncio."""
        for page, exists in ((TWISTED, exists_in_twisted), (ASYNCIO, is_known)):
            names = [name for row in rows(page) for name in row.their_names]
            self.assertGreater(len(names), 40)
            wrong = [name for name in names if "(" not in name and not exists(name)]
            self.assertEqual(wrong, [], page.name)

    def test_wrong_names_are_found(self) -> None:
        """A name that does not exist is noticed."""
        for name in ("Protocol.nothing", "Nothing", "ITransport.rite"):
            self.assertFalse(exists_in_twisted(name), name)
        self.assertFalse(is_known("asyncio.StreamReader.reedline"))

    def test_no_class_is_forgotten(self) -> None:
        """Each public class of the modules that the page is about has a row."""
        named = {name.split(".")[0] for row in rows(TWISTED) for name in row.their_names}
        for module in (policies, basic, protocol, endpoints):
            missing = classes_of(module) - named - NOT_OURS
            self.assertEqual(missing, set(), module.__name__)

    def test_each_row_has_ours_or_the_reason(self) -> None:
        """What was left out says why."""
        for page in (TWISTED, ASYNCIO):
            for row in rows(page):
                self.assertTrue(row.our_names or (row.ours == LEFT_OUT and row.note), row.theirs)
