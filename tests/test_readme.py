"""README is also the package's page on PyPI, where relative links do not work. All pages render."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

from readme_renderer import rst
from twisted.trial.unittest import SynchronousTestCase

CHECKOUT = Path(__file__).resolve().parent.parent
README = CHECKOUT / "README.rst"

# A line of a table or a heading, or a mark that a merge has left behind. Rendered, it is no text.
_RULE = re.compile(r"(?:={4,}|-{4,}|<{4,}|(?:>|&gt;){4,}|\|{4,})")


class Targets(HTMLParser):
    """Collects the links and images of a page.

    :ivar found: the values of ``href`` and ``src``, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("href", "src")]


def relative(page: str) -> list[str]:
    """Return the relative links of a page, without links within the page."""
    targets = Targets()
    targets.feed(page)
    return [
        each for each in targets.found if not each.startswith("#") and not urlsplit(each).scheme
    ]


class ReadmeTests(SynchronousTestCase):
    """README, rendered as PyPI does it."""

    def render(self, text: str) -> str:
        """Render a text, and check that there is no warning."""
        warnings = io.StringIO()
        page = rst.render(text, stream=warnings)
        self.assertEqual(warnings.getvalue(), "")
        self.assertIsNotNone(page)
        prose = re.sub(r"<pre.*?</pre>", "", str(page), flags=re.DOTALL)
        self.assertIsNone(_RULE.search(re.sub(r"<[^>]*>", "", prose)))
        return str(page)

    def test_it_is_rendered(self) -> None:
        """README renders without an error or warning."""
        page = self.render(README.read_text())
        self.assertIn("<table", page)
        self.assertIn("netchat", page)

    def test_every_page_is_rendered(self) -> None:
        """So does every page outside the guide, and no table is taken for a paragraph."""
        pages = [*CHECKOUT.glob("*.rst"), *CHECKOUT.glob("*/README.rst")]
        self.assertGreater(len(pages), 4)
        for path in pages:
            self.render(path.read_text())

    def test_it_is_short(self) -> None:
        """README fits on two screens: everything else is in the guide."""
        self.assertLess(len(README.read_text().splitlines()), 100)

    def test_what_it_names_exists(self) -> None:
        """Each file and folder that README names exists."""
        named = re.findall(
            r"``((?:docs|examples|benchmarks)/[\w./-]*|[A-Z]+\.rst)``", README.read_text()
        )
        self.assertGreater(len(named), 10)
        for path in named:
            self.assertTrue((CHECKOUT / path).exists(), path)

    def test_nothing_leads_to_a_file(self) -> None:
        """README has no relative links, and one picture. On PyPI its text stands for it."""
        page = self.render(README.read_text())
        (picture,) = relative(page)
        self.assertTrue((CHECKOUT / picture).read_bytes().startswith(b"\x89PNG"))
        self.assertRegex(
            page, f'<img alt="A browser, netchat-client and nc [^"]*" [^>]*src="{picture}"'
        )

    def test_what_would_be_found(self) -> None:
        """Relative links and images would be found, and others would not."""
        text = (
            "`a <examples/a.py>`_ `b <https://twisted.org>`_ `Here`_\n\n"
            ".. image:: docs/b.svg\n\nHere\n====\n\nText.\n\nThere\n=====\n\nText.\n"
        )
        self.assertEqual(relative(self.render(text)), ["examples/a.py", "docs/b.svg"])

    def test_errors_would_be_found(self) -> None:
        """Errors, such as a malformed table, would be found."""
        self.assertRaises(self.failureException, self.render, "=== ===\na\n=== ==\n")
        torn = "\na  b\n=====  =====\n=======\n=====  =====\na  b\n=====  =====\n"
        self.assertRaises(self.failureException, self.render, torn)
