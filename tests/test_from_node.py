"""Every name in the page ``docs/from-node.rst`` exists, and no member of Node's net is missing."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

from docutils.core import publish_doctree
from twisted.internet.testing import MemoryReactorClock
from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase

import twisted_net
from twisted_net import Admission, AdmissionRules, ConnectionFactory, ListenerService
from twisted_net.endpoints.client import CONNECT_KEYWORDS
from twisted_net.endpoints.strings import parse_net
from twisted_net.services.echo import Options

PAGE = Path(__file__).resolve().parent.parent / "docs" / "from-node.rst"

LEFT_OUT = "left out"

MADE: dict[str, Any] = {
    "ConnectionFactory": ConnectionFactory(),
    "ListenerService": ListenerService(ConnectionFactory(), []),
    "Admission": Admission(AdmissionRules()),
}
"""Objects of classes whose attributes exist only in objects."""

_MEMBERS = """
allowHalfOpen highWaterMark noDelay keepAlive keepAliveInitialDelay pauseOnConnect blockList 'close'
'connection' 'error' 'listening' 'drop' server.address server.close Symbol.asyncDispose
Symbol.asyncIterator getConnections server.listen readableAll writableAll exclusive ipv6Only
reusePort handle signal server.listening maxConnections dropMaxConnection ref unref
captureRejections net.Socket fd onread typeOfService getTypeOfService setTypeOfService 'connect'
'ready' 'connectionAttempt' 'connectionAttemptFailed' 'connectionAttemptTimeout' 'data' 'drain'
'end' 'lookup' 'timeout' socket.address localAddress localPort localFamily remoteAddress remotePort
remoteFamily autoSelectFamilyAttemptedAddresses bufferSize writableLength writableHighWaterMark
readableHighWaterMark writableNeedDrain readableLength bytesRead bytesWritten socket.connect
autoSelectFamily autoSelectFamilyAttemptTimeout family hints lookup path timeout connecting pending
readyState readable writable readableEnded writableEnded writableFinished destroy destroyed
destroySoon end pause resume isPaused resetAndDestroy server setEncoding setKeepAlive setNoDelay
setTimeout write cork uncork writev pipe diagnostics_channel BlockList check addAddress addSubnet
addCIDR addRange removeAddress removeSubnet removeCIDR clear rules size fromJSON toJSON isBlockList
PRIVATE_RANGES SocketAddress address flowlabel SocketAddress.parse BoundSocket close dispose isPipe
net.connect net.createConnection net/promises net.getDefaultAutoSelectFamily net.isIP net.isIPv4
net.isIPv6 net.createServer net.Server
"""
"""The members of Node's documentation of net, by the names that the page must have."""


def rows() -> list[tuple[str, list[str], str, str]]:
    """Return the rows of the tables: Node's names, ours as literals and as text, and the note."""
    tree = publish_doctree(PAGE.read_text(), settings_overrides={"report_level": 2})
    found = []
    for row in tree.findall(lambda node: node.tagname == "row"):
        node, ours, note = row.children
        literals = [each.astext() for each in ours.findall(lambda n: n.tagname == "literal")]
        found.append((node.astext(), literals, ours.astext(), note.astext()))
    return [row for row in found if row[0] != "Node"]


def exists(name: str) -> bool:
    """Return whether a name of the middle column is there."""
    if name.startswith("--"):
        return name[2:] in {each.rstrip("=") for each in Options().longOpt}  # type: ignore[no-untyped-call]
    keyword = re.fullmatch(r"(connect|net)\((\w+)=\)", name)
    if keyword:
        return _has_keyword(*keyword.groups())
    if name.split(".")[0] in ("twisted", "ipaddress"):
        return namedAny(name) is not None
    owner, _, attribute = name.partition(".")
    if owner not in twisted_net.__all__:
        return False
    found = getattr(twisted_net, owner)
    if not attribute:
        return True
    return (
        hasattr(found, attribute)
        or hasattr(MADE.get(owner), attribute)
        or any(attribute in inspect.get_annotations(each) for each in found.__mro__)
    )


def _has_keyword(owner: str, keyword: str) -> bool:
    if owner == "connect":
        return keyword in CONNECT_KEYWORDS
    try:
        parse_net(MemoryReactorClock(), "0", nonsense="1")
    except ValueError as error:
        return keyword in re.split(r"\W+", str(error).partition("the options are")[2])
    return False


class FromNodeTests(SynchronousTestCase):
    def test_every_name_exists(self) -> None:
        """Each of our names in the tables can be used as it is written."""
        names = [name for row in rows() for name in row[1]]
        self.assertGreater(len(names), 100)
        for name in names:
            self.assertTrue(exists(name), f"{name} does not exist")

    def test_the_test_can_fail(self) -> None:
        for wrong in (
            *("Connexion", "Connection.is_pausd", "connect(tiemout=)", "net(dney=)", "--dney"),
            *("ConnectionFactory.nothing", "Ranges.size"),
        ):
            self.assertFalse(exists(wrong), wrong)

    def test_each_row_has_ours_or_the_reason(self) -> None:
        for node, literals, ours, note in rows():
            self.assertEqual(bool(literals), ours != LEFT_OUT, node)
            if ours == LEFT_OUT:
                self.assertTrue(note.endswith("."), f"{node}: no reason")

    def test_every_member_has_a_row(self) -> None:
        """No member of Node's net is forgotten."""
        known = " ".join(row[0] for row in rows())
        for member in _MEMBERS.split():
            self.assertRegex(known, rf"(?<!\w){re.escape(member)}(?!\w)")
