"""Every name in the page ``docs/from-node-tls.rst`` exists."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

from docutils.core import publish_doctree
from OpenSSL import SSL
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.trial.unittest import SynchronousTestCase

import twisted_net
from twisted_net import Certificates
from twisted_net.endpoints.client import CONNECT_KEYWORDS
from twisted_net.endpoints.strings import guarded, parse_net, parse_nettls
from twisted_net.services.echo import Options

PAGE = Path(__file__).resolve().parent.parent / "docs" / "from-node-tls.rst"

CLASSES = {"transport": TLSMemoryBIOProtocol, "handle": SSL.Connection}


def rows() -> list[tuple[str, list[str], str]]:
    """Return the rows of the tables: Node's names, the literals in the middle, and its text."""
    tree = publish_doctree(PAGE.read_text(), settings_overrides={"report_level": 2})
    found = []
    for row in tree.findall(lambda node: node.tagname == "row"):
        node, ours, _ = row.children
        literals = [each.astext() for each in ours.findall(lambda n: n.tagname == "literal")]
        found.append((node.astext(), literals, ours.astext()))
    return [row for row in found if row[0] != "Node"]


def known_options(tls: bool) -> str:
    """Return the error that lists the options of an endpoint string."""
    try:
        guarded(object(), object(), {"nonsense": "1"}, object() if tls else None)  # type: ignore
    except ValueError as error:
        return str(error).partition("the options are")[2]
    return ""


def problem(name: str) -> str:
    """Return what is wrong with a name, or nothing."""
    flag = re.fullmatch(r"--([a-z0-9-]+)", name)
    if flag:
        options = Options()
        known = {each.rstrip("=") for each in options.longOpt}
        return "" if flag[1] in known else "no such flag"
    keyword = re.fullmatch(r"([\w.]+)\((\w+)=\)", name)
    if keyword:
        return _keyword_problem(*keyword.groups())
    owner, _, attribute = name.partition(".")
    if owner in CLASSES:
        holder = CLASSES[owner]
        known_here = hasattr(holder, attribute) or attribute in ("negotiatedProtocol",)
        return "" if known_here else "no such attribute"
    return _public_problem(name)


def _keyword_problem(owner: str, keyword: str) -> str:
    if owner in ("net", "nettls"):
        parser = parse_net if owner == "net" else parse_nettls
        own = inspect.signature(parser).parameters
        listed = re.split(r"\W+", known_options(owner == "nettls"))
        return "" if keyword in own or keyword in listed else "no such option"
    if owner == "connect":
        return "" if keyword in CONNECT_KEYWORDS else "no such keyword"
    target: Any = Certificates if owner == "Certificates" else _find(owner)
    return "" if keyword in inspect.signature(target).parameters else "no such keyword"


def _find(name: str) -> Any:
    found: Any = twisted_net
    for part in name.split("."):
        if found is twisted_net and part == "chat":
            found = importlib.import_module("twisted_net.chat")
        else:
            found = getattr(found, part)
    return found


def _public_problem(name: str) -> str:
    top = name.split(".")[0]
    if top not in (*twisted_net.__all__, "chat"):
        return "not public"
    try:
        _find(name)
    except AttributeError:
        return "no such attribute"
    return ""


class PageTests(SynchronousTestCase):
    """The tables."""

    def test_every_name_exists(self) -> None:
        """Flags, keywords, options, methods and attributes of ours exist."""
        names = [name for _, literals, _ in rows() for name in literals]
        self.assertGreater(len(names), 60)
        wrong = {name: problem(name) for name in names if problem(name)}
        self.assertEqual(wrong, {})

    def test_every_row_has_an_answer(self) -> None:
        """Each member of Node's has a name of ours, or says that it was left out."""
        for node, literals, text in rows():
            answered = bool(literals) or text.startswith(("left out", "not needed", "two hours"))
            self.assertTrue(answered, node)

    def test_left_out_has_a_reason(self) -> None:
        """What was left out says why."""
        for each in re.findall(r"     - left out\n     -(.*)\n", PAGE.read_text()):
            self.assertTrue(each.strip())

    def test_what_does_not_exist_is_found(self) -> None:
        """Names that do not exist would be noticed, of each kind."""
        for name in (
            *("--no-such-flag", "connect(nonsense=)", "Certificates(nonsense=)", "net(nonsense=)"),
            *("nettls(nonsense=)", "Certificates.nonsense", "handle.nonsense", "nonsense"),
            *("transport.nonsense", "Certificates.from_files(nonsense=)", "net(clientCA=)"),
        ):
            self.assertTrue(problem(name), name)
