"""The browser page: its modules, run by Node, and what its policy asks of its files.

``tests/live/test_page.py`` runs it in a browser.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from configparser import ConfigParser
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import twisted_net.web
from twisted_net.chat.names import fold
from twisted_net.policy.close_reasons import REASONS

PAGE = Path(twisted_net.web.__file__).with_name("page")
TESTS = Path(__file__).with_name("page")


def prepare_node(case: SynchronousTestCase) -> tuple[str, Path]:
    """Return Node, and a directory with the page in which it takes ``.js`` for modules."""
    node = shutil.which("node")
    if node is None:
        raise SkipTest("node is not installed")
    root = Path(case.mktemp())
    shutil.copytree(PAGE, root / "page")
    (root / "package.json").write_text('{"type": "module"}')
    return node, root


class ModulesTests(SynchronousTestCase):
    """The tests in ``tests/web/page``, which need no browser."""

    def run_tests(self, *names: str) -> None:
        """Run them in a directory of their own."""
        node, root = prepare_node(self)
        for name in names:
            shutil.copy(TESTS / name, root)
        done = subprocess.run(
            [node, "--test", *names], cwd=root, capture_output=True, text=True, timeout=120
        )
        found = re.search(r"^\S pass (\d+)$", done.stdout, re.MULTILINE)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertGreater(int(found[1]) if found else 0, 0, done.stdout)

    def test_chat(self) -> None:
        """Messages are sent once, and a reconnection goes on where it stopped."""
        self.run_tests("test_chat.mjs")

    def test_connection(self) -> None:
        """The states of the connection, and what survives a reload."""
        self.run_tests("test_connection.mjs")

    def test_texts(self) -> None:
        """The format of texts, completion and commands."""
        self.run_tests("test_texts.mjs")

    def test_timeline(self) -> None:
        """The rows of a conversation, and gaps in it."""
        self.run_tests("test_timeline.mjs")

    def test_all_of_them_are_run(self) -> None:
        """Each file of tests has a test here."""
        run = set(re.findall(r'run_tests\("(.*?)"\)', Path(__file__).read_text()))
        self.assertEqual({path.name for path in TESTS.glob("*.mjs")}, run)


# Prints how the page folds each character, if not to itself, and a list of names; null for those
# that Node's version of Unicode does not know.
FOLD = """
import { fold } from './page/names.js';
const all = {};
for (let code = 0; code <= 0x10ffff; code += 1) {
  if (code >= 0xd800 && code <= 0xdfff) continue;
  const character = String.fromCodePoint(code);
  const folded = /\\p{Cn}/u.test(character) ? null : fold(character);
  if (folded !== character) all[character] = folded;
}
console.log(JSON.stringify([all, JSON.parse(process.argv[2]).map(fold)]));
"""


class FoldTests(SynchronousTestCase):
    def test_names_compare_as_on_the_server(self) -> None:
        """The page folds each character as the server does, and names of several."""
        texts = ["ΟΔΟΣ", "όδος", "Straße", "STRASSE", "İpek", "IPEK", "\u0131pek", "ᏣᎳᎩ", "ꮳꮃꭹ"]
        texts += ["\uff21nn", "e\u0301A", "A\u0345\u0301", "\u0399\u0308\u0301", "ﬃ", "ẞß", "ǅ"]
        node, root = prepare_node(self)
        (root / "fold.js").write_text(FOLD)
        command = [node, "fold.js", json.dumps(texts)]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.stderr, "")
        each, together = json.loads(done.stdout)
        self.assertEqual(together, [fold(text) for text in texts])
        for code in filter(_is_character, range(sys.maxunicode + 1)):
            found = each.get(chr(code), chr(code))
            if found is not None and found != fold(chr(code)):
                self.fail(f"U+{code:04X} is {found!r}, and on the server {fold(chr(code))!r}")


def _is_character(code: int) -> bool:
    return unicodedata.category(chr(code)) not in ("Cn", "Cs")


class ReasonsTests(SynchronousTestCase):
    def test_reasons_are_the_servers(self) -> None:
        """The page knows the reasons for which the server closes connections, as they are."""
        text = (PAGE / "reasons.js").read_text()
        rows = re.findall(r"^  '?([a-z-]+)'?: \[(true|false), '(.*)'\],$", text, re.MULTILINE)
        found = {code: (retry == "true", sentence) for code, retry, sentence in rows}
        self.assertEqual(found, {code: (row.retry, row.text) for code, row in REASONS.items()})


class PolicyTests(SynchronousTestCase):
    """What the Content-Security-Policy forbids is not in the files."""

    def test_no_inline_style_or_script(self) -> None:
        """The HTML has neither styles nor handlers in attributes, nor anything from elsewhere."""
        html = (PAGE / "index.html").read_text()
        self.assertEqual(re.findall(r"<style|\sstyle=|\son\w+=|javascript:", html), [])
        self.assertEqual(re.findall(r"<script(?![^>]*\ssrc=)", html), [])
        for path in re.findall(r'(?:src|href)="([^"#]+)"', html):
            self.assertTrue((PAGE / path).is_file(), path)

    def test_no_module_makes_html(self) -> None:
        """Nothing parses a text as HTML or as a program: the policy lets no such call through."""
        forbidden = re.compile(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextual"
            r"|srcdoc|\beval\b|new Function|setAttribute\('(?:style|on)"
        )
        for path in PAGE.glob("*.js"):
            self.assertEqual(forbidden.findall(path.read_text()), [], path.name)

    def test_modules_import_what_is_there(self) -> None:
        """Each import names a file of the page, and what that file exports."""
        for path in PAGE.glob("*.js"):
            text = path.read_text()
            for names, source in re.findall(r"import \{([^}]*)\} from '\./([\w.]+)'", text):
                exported = (PAGE / source).read_text()
                for name in filter(None, (each.strip() for each in names.split(","))):
                    pattern = rf"export (?:async )?(?:const|function|class) {name}\b"
                    self.assertRegex(exported, pattern, f"{path.name}: {name}")
            self.assertEqual(text.count("import {"), text.count("from './"), path.name)

    def test_ids_that_modules_ask_for(self) -> None:
        """Each element that a module asks for by its id is in the page, once."""
        html = (PAGE / "index.html").read_text()
        ids = re.findall(r'\sid="([^"]+)"', html)
        self.assertEqual(len(ids), len(set(ids)))
        for path in PAGE.glob("*.js"):
            asked = set(re.findall(r"byId\('([^']+)'\)", path.read_text()))
            self.assertLessEqual(asked, set(ids), path.name)

    def test_the_manifest(self) -> None:
        """The manifest and its icon are valid, and stay below the page's own path."""
        manifest = json.loads((PAGE / "manifest.webmanifest").read_text())
        self.assertEqual((manifest["start_url"], manifest["scope"]), (".", "."))
        for icon in manifest["icons"]:
            ElementTree.parse(PAGE / icon["src"])

    def test_everything_is_packaged(self) -> None:
        """``setup.cfg`` names every file of the page."""
        setup = ConfigParser()
        setup.read(Path(__file__).parents[2] / "setup.cfg")  # of the checkout
        pattern = setup["options.package_data"]["twisted_net.web"].strip()
        found = {path.relative_to(PAGE.parent) for path in PAGE.parent.glob(pattern)}
        self.assertEqual(found, {path.relative_to(PAGE.parent) for path in PAGE.rglob("*")})

    def test_files_are_small(self) -> None:
        """No module has more than 420 lines, or long ones, and the page is less than 150 KiB."""
        for path in PAGE.glob("*.js"):
            lines = path.read_text().splitlines()
            self.assertLessEqual(len(lines), 420, path.name)
            self.assertEqual([line for line in lines if len(line) > 100], [], path.name)
        self.assertLess(sum(path.stat().st_size for path in PAGE.iterdir()), 150 * 1024)


class ColourTests(SynchronousTestCase):
    """Every text can be read: WCAG 2.2 asks for a contrast of 4.5 (1.4.3)."""

    def setUp(self) -> None:
        css = (PAGE / "page.css").read_text()
        schemes = [_colours(part) for part in _schemes(css)]
        self.light = schemes[0]
        self.dark = schemes[0] | schemes[1]

    def test_names(self) -> None:
        """Each of the twelve colours, on each ground that a name stands on, and in its square."""
        for scheme, number in product((self.light, self.dark), range(12)):
            for ground in ("bg", "hit"):
                self.assert_readable(scheme[f"c{number} name"], scheme[ground], f"c{number}")
            self.assert_readable("#ffffff", scheme[f"c{number} av"], f"square c{number}")

    def test_other_texts(self) -> None:
        """The texts of each scheme on their grounds."""
        pairs = (
            "fg bg, fg side, fg hit, fg code, fg line, dim bg, dim side, acc bg, acc hit, "
            "accfg acc, bad bg, bad side, bg bad, ok side"
        )
        for scheme, pair in product((self.light, self.dark), pairs.split(", ")):
            text, ground = pair.split()
            self.assert_readable(scheme[text], scheme[ground], pair)

    def assert_readable(self, text: str, ground: str, what: str) -> None:
        light, dark = sorted((_luminance(text), _luminance(ground)), reverse=True)
        self.assertGreaterEqual((light + 0.05) / (dark + 0.05), 4.5, f"{what}: {text} on {ground}")


def _schemes(css: str) -> Iterator[str]:
    """Give the rules of the light scheme, and those that the dark scheme has instead."""
    dark = re.compile(r"@media \(prefers-color-scheme: dark\) \{\n(.*?)\n\}", re.DOTALL)
    yield dark.sub("", css)
    yield "\n".join(dark.findall(css))


def _colours(rules: str) -> dict[str, str]:
    found = {}
    for selector, body in re.findall(r"(:root|\.c\d+) \{([^}]*)\}", rules):
        prefix = "" if selector == ":root" else f"{selector[1:]} "
        for name, value in re.findall(r"--(\w+): (#\w{3,6})\b", body):
            found[prefix + name] = value
    return found


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(each * 2 for each in colour[1:])
    red, green, blue = (_linear(int(digits[at : at + 2], 16) / 255) for at in (0, 2, 4))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
