"""Whether the names in the tables of the guide's pages exist: ours, Twisted's and asyncio's."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from docutils import nodes
from docutils.core import publish_doctree
from docutils.parsers.rst import roles
from OpenSSL import SSL
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.reflect import namedAny

import twisted_net
from twisted_net import Admission, AdmissionRules, ConnectionFactory, ListenerService
from twisted_net.endpoints.client import CONNECT_KEYWORDS
from twisted_net.endpoints.strings import guarded, parse_net, parse_nettls
from twisted_net.services import chat, echo, idle

DOCS = Path(__file__).resolve().parent.parent / "docs"

LEFT_OUT = "left out"

FACES = ("chat", "eager", "testing", "web")
"""The modules of the package, besides itself, that have public names."""

MADE: dict[str, Any] = {
    "ConnectionFactory": ConnectionFactory(),
    "ListenerService": ListenerService(ConnectionFactory(), []),
    "Admission": Admission(AdmissionRules()),
}
"""Objects of classes whose attributes exist only in objects."""

CLASSES = {"transport": TLSMemoryBIOProtocol, "handle": SSL.Connection}

_LATER = {"transport.negotiatedProtocol"}  # exists once the handshake is done


class Row(NamedTuple):
    """A row of a table: another library's names, ours, and the note.

    :ivar theirs: the first cell; ``their_names`` are its literals.
    :ivar ours: the second cell; ``our_names`` are its literals.
    """

    theirs: str
    their_names: list[str]
    ours: str
    our_names: list[str]
    note: str


def rows(page: Path) -> list[Row]:
    """Return the rows of the tables of a page that have three cells, without their headings."""
    _know_roles()
    tree = publish_doctree(page.read_text(), settings_overrides={"report_level": 4})
    found = []
    for row in tree.findall(nodes.row):
        if len(row.children) == 3 and not isinstance(row.parent, nodes.thead):
            first, second, note = row.children
            found.append(
                Row(
                    first.astext(),
                    _literals(first),
                    second.astext(),
                    _literals(second),
                    note.astext(),
                )
            )
    return found


def problem(name: str) -> str:
    """Return what is wrong with one of our names, or nothing.

    It may be a name of ``twisted_net`` with or without attributes, of one of its modules, of
    Twisted or the standard library in full, a flag (``--port``), a keyword (``connect(tls=)``), an
    option of an endpoint string (``net(idle=)``), a path of the operator's view (``/metrics``), or
    an attribute of ``transport`` and ``handle``.
    """
    if name.startswith("--"):
        return "" if name[2:] in _flags() else "no such flag"
    if name.startswith("/"):
        known = re.findall(r"``(/[\w/-]+)``", (DOCS / "monitoring.rst").read_text())
        return "" if name in known else "no such path"
    keyword = re.fullmatch(r"([\w.]+)\((\w+)=\)", name)
    if keyword:
        return _keyword_problem(keyword[1], keyword[2])
    owner, _, attribute = name.partition(".")
    if owner in CLASSES:
        known_here = hasattr(CLASSES[owner], attribute) or name in _LATER
        return "" if known_here else "no such attribute"
    if owner in twisted_net.__all__ or owner in FACES:
        return "" if _has(owner, attribute) else "no such attribute"
    return "" if "." in name and is_known(name) else "not public"


def is_known(name: str) -> bool:
    """Return whether a full name of another package, such as ``asyncio.Server.close``, exists."""
    try:
        namedAny(name)
    except (AttributeError, ImportError, ValueError):
        return _is_annotated(name)
    return True


def _is_annotated(name: str) -> bool:
    """Return whether an attribute is one of an interface, or only annotated."""
    owner, _, attribute = name.rpartition(".")
    try:
        found: Any = namedAny(owner)
    except (AttributeError, ImportError, ValueError):
        return False
    if hasattr(found, "namesAndDescriptions"):
        return attribute in found.names(all=True)
    return attribute in getattr(found, "__annotations__", {})


def _has(owner: str, attribute: str) -> bool:
    found: Any = getattr(twisted_net, owner, None)
    if owner in FACES:
        found = importlib.import_module(f"twisted_net.{owner}")
        top, _, rest = attribute.partition(".")
        if not attribute or top not in found.__all__:
            return not attribute
        found, attribute = getattr(found, top), rest
    if not attribute or hasattr(found, attribute) or hasattr(MADE.get(owner), attribute):
        return True
    bases = getattr(found, "__mro__", ())
    return any(attribute in inspect.get_annotations(each) for each in bases)


def _keyword_problem(owner: str, keyword: str) -> str:
    if owner in ("net", "nettls"):
        parser = parse_net if owner == "net" else parse_nettls
        known = {*inspect.signature(parser).parameters, *_options(owner == "nettls")}
        return "" if keyword in known else "no such option"
    if owner == "connect":
        return "" if keyword in CONNECT_KEYWORDS else "no such keyword"
    problem_of_owner = problem(owner)
    if problem_of_owner:
        return problem_of_owner
    return "" if keyword in _keywords(_find(owner)) else "no such keyword"


def _find(name: str) -> Callable[..., Any]:
    found: Any = twisted_net
    for part in name.split("."):
        is_face = found is twisted_net and part in FACES
        found = importlib.import_module(f"twisted_net.{part}") if is_face else getattr(found, part)
    assert callable(found), name
    return found


def _keywords(target: Callable[..., Any]) -> set[str]:
    """Return the keywords that a function or a class takes, with those that it passes on."""
    found: set[str] = set()
    made_by = getattr(target, "__self__", None)
    for each in (target, made_by) if inspect.isclass(made_by) else (target,):
        for parameter in inspect.signature(each).parameters.values():
            passed_on = re.search(r"Unpack\[(\w+)\]", str(parameter.annotation))
            if passed_on:
                kind = getattr(sys.modules[each.__module__], passed_on[1])
                found |= kind.__optional_keys__ | kind.__required_keys__
            else:
                found.add(parameter.name)
    return found


def _flags() -> set[str]:
    options: list[Any] = [echo.Options(), idle.Options(), chat.Options()]
    return {each.rstrip("=") for known in options for each in known.longOpt}


def _options(tls: bool) -> list[str]:
    """Return the options of an endpoint string, which the error about a wrong one lists."""
    try:
        if tls:
            guarded(object(), object(), {"nonsense": "1"}, object())  # type: ignore[arg-type]
        parse_net(MemoryReactorClock(), "0", nonsense="1")
    except ValueError as error:
        return re.split(r"\W+", str(error).partition("the options are")[2])
    return []


def _literals(cell: nodes.Node) -> list[str]:
    return [each.astext() for each in cell.findall(nodes.literal)]


def _know_roles() -> None:
    """Let docutils read the roles and directives of Sphinx that the pages have."""

    def role(
        name: str,
        rawtext: str,
        text: str,
        lineno: int,
        inliner: Any,
        options: Mapping[str, Any] | None = None,
        content: Any = None,
    ) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        return [nodes.inline(rawtext, text)], []

    for name in ("doc", "ref"):
        roles.register_local_role(name, role)
