"""The reference has every public name and every option of endpoint strings, with an example."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import trustme
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.layers_picture import PICTURE, draw
from tests.test_faces import FACES
from twisted_net.endpoints.strings import parse_nettls

REFERENCE = Path(__file__).resolve().parent.parent / "docs" / "reference"

PAGES = {path.stem: path.read_text() for path in sorted(REFERENCE.glob("*.rst"))}

_OBJECT = re.compile(r"^\.\. auto(?:class|function|exception|data):: (\w+)$", re.MULTILINE)


def public_names() -> set[str]:
    """Return every name that can be imported from a public module."""
    return {name for face in FACES for name in importlib.import_module(face).__all__}


def examples() -> str:
    """Return the examples of all pages that are run: the lines after ``>>>`` and ``...``."""
    lines = [line for text in PAGES.values() for line in text.splitlines()]
    return "\n".join(line[4:] for line in lines if line.startswith((">>> ", "... ")))


class ReferenceTests(SynchronousTestCase):
    """The pages in ``docs/reference/``."""

    def test_every_name_has_its_place(self) -> None:
        """Each public name is described once."""
        described = [name for text in PAGES.values() for name in _OBJECT.findall(text)]
        self.assertEqual(sorted(described), sorted(public_names()))

    def test_every_name_has_an_example(self) -> None:
        """Each public name is used in an example that is run, and not only imported."""
        used = {
            name
            for line in examples().splitlines()
            if not line.startswith("from ")
            for name in re.findall(r"\w+", line)
        }
        self.assertEqual(sorted(public_names() - used), [])

    def test_every_name_has_a_docstring(self) -> None:
        """Each public class and function says what it is, in a whole sentence."""
        for face in FACES:
            module = importlib.import_module(face)
            for name in module.__all__:
                value = getattr(module, name)
                if callable(value):
                    self.assertRegex(value.__doc__ or "", r"\A\s*[A-Z](?s:.*?)[.:]", name)

    def test_every_page_is_in_the_index(self) -> None:
        """The index lists all pages."""
        listed = re.findall(r"^   ([a-z][\w-]*)$", PAGES["index"], re.MULTILINE)
        self.assertEqual(sorted(listed), sorted(set(PAGES) - {"index"}))

    def test_every_option_of_an_endpoint_string(self) -> None:
        """The tables have the options that the parser knows, and no others."""
        rows = "".join(re.findall(r"^``.*?  ", PAGES["endpoint-strings"], re.MULTILINE))
        reactor = MemoryReactorClock()
        with self.assertRaises(ValueError) as raised:
            parse_nettls(reactor, "0", dir=str(self.certificates()), nothing="1")
        known = str(raised.exception).partition("the options are ")[2].split(", ")
        self.assertEqual(sorted(re.findall(r"``(\w+)``", rows)), sorted([*known, "interface"]))

    def certificates(self) -> Path:
        """Return a directory with a certificate."""
        directory = Path(self.mktemp())
        (directory / "a.example").mkdir(parents=True)
        issued = trustme.CA().issue_cert("a.example")
        issued.private_key_pem.write_to_path(directory / "a.example" / "privkey.pem")
        issued.cert_chain_pems[0].write_to_path(directory / "a.example" / "fullchain.pem")
        return directory


class PictureTests(SynchronousTestCase):
    """The picture of the folders."""

    def test_it_is_up_to_date(self) -> None:
        """It shows the layers that the test of the architecture checks."""
        self.assertEqual(draw(), PICTURE.read_text(), "run python -m tests.layers_picture")
