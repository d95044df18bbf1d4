"""Make a Python 3 package of the suite's cases: ``python porting.py SOURCE DESTINATION``.

``fissix`` does most of it: it is Python's own ``lib2to3``, which 3.13 has removed. What it cannot
know are the types: the cases take bytes for text, and here they go on doing so. A byte is the
character with its number (Latin-1), and the player translates.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

SUITE = "autobahntestsuite"

_TABLE: tuple[tuple[str, str], ...] = (
    # bytes and text
    (r"binascii\.b2a_hex\(", "_hex("),
    (r"\.tostring\(\)", ".tobytes().decode('latin-1')"),
    (r"(\.encode\(['\"]utf-?8['\"]\))", r"\1.decode('latin-1')"),
    (r"m\.update\(msg\)", "m.update(_bytes(msg))"),
    (r"msg = msg\.decode\('utf-8'\)", "msg = _bytes(msg).decode('utf-8')"),
    # modules that have moved, or are not needed
    (r"import pkg_resources.*", f"from {SUITE} import pkg_resources"),
    (r"import copy, os, pkg_resources,", f"from {SUITE} import pkg_resources; import copy, os,"),
    (
        r"from autobahn\.websocket\.utf8validator import Utf8Validator",
        f"from {SUITE} import Utf8Validator",
    ),
    (r"(?m)^from (case[0-9_xX]*|case|caseset) import", r"from .\1 import"),
    (r"from \.\.case", "from .case"),
    # zope.interface's form for Python 2 only
    (r"   implements\(interfaces\.IPushProducer\)", ""),
    (r"from zope\.interface import implements", ""),
    # the order of base classes, and what pickle says of equal strings
    (r"\(object, Case(, )?\)", "(Case,)"),
    (r"pickle\.dumps\(obj1\) == pickle\.dumps\(obj2\)", "obj1 == obj2"),
    # arguments that autobahn has renamed
    (r"(request|accept)NoContextTakeover", r"\1_no_context_takeover"),
    (r"(request|accept)MaxWindowBits", r"\1_max_window_bits"),
)

_WHOLE_NUMBERS = ("case10_1_1.py",)  # files in which / divides whole numbers

_HELPERS = '''\
"""What the ported cases need of Python 2."""

import binascii
import os

from autobahn.websocket.utf8validator import Utf8Validator as _Validator


def _bytes(text):
    return text.encode("latin-1") if isinstance(text, str) else text


def _hex(text):
    return binascii.b2a_hex(_bytes(text)).decode()


class Utf8Validator(_Validator):
    def validate(self, text):
        return super().validate(_bytes(text))


class pkg_resources:
    @staticmethod
    def resource_filename(package, name):
        return os.path.join(os.path.dirname(__file__), name)
'''


def ported(name: str, text: str, tool: Any) -> str:
    """Return the text of one file for Python 3.

    :param tool: of ``fissix``.
    """
    text = str(tool.refactor_string(text.expandtabs(8) + "\n", name))
    for pattern, replacement in _TABLE:
        text = re.sub(pattern, replacement, text)
    if name in _WHOLE_NUMBERS:
        text = text.replace("/", "//")
    lines = text.split("\n")
    first = 1 if "coding" in lines[0] else 0
    lines.insert(first, f"from {SUITE} import _bytes, _hex")
    return "\n".join(lines)


def port(source: Path, destination: Path) -> None:
    """Make the package.

    :param source: the package in the suite's archive.
    """
    from fissix.refactor import RefactoringTool, get_fixers_from_package

    fixers = get_fixers_from_package("fissix.fixes")
    tool = RefactoringTool([each for each in fixers if not each.endswith("fix_unicode")])
    (destination / "case").mkdir(parents=True)
    for path in (source / "caseset.py", *(source / "case").glob("*.py")):
        text = ported(path.name, path.read_text(encoding="latin-1"), tool)
        (destination / path.relative_to(source)).write_text(text, encoding="utf-8")
    shutil.copytree(source / "testdata", destination / "testdata")
    (destination / "__init__.py").write_text(_HELPERS)


if __name__ == "__main__":
    port(Path(sys.argv[1]), Path(sys.argv[2]))
