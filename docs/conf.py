"""The settings of Sphinx: ``sphinx-build -W -n docs docs/_build/html``."""

from __future__ import annotations

import doctest
import importlib
import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS.parent), str(DOCS)]

from generated_tables import CloseCodes, JsonMessages  # noqa: E402

import twisted_net  # noqa: E402

project = "twisted_net"
author = "the twisted_net developers"
copyright = "the twisted_net developers"
version = release = twisted_net.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]

# sphinx-build -t spelling -b spelling: it needs enchant and a dictionary, which a build of the pages
# does not. spelling_words.txt has the names and terms that the dictionary does not know.
if tags.has("spelling"):  # noqa: F821  # Sphinx provides it
    extensions.append("sphinxcontrib.spelling")
    spelling_lang = "en_GB"
    spelling_ignore_contributor_names = False  # it would ask git, which a copy does not have
    spelling_word_list_filename = "spelling_words.txt"
    spelling_filters = ["spelling_filter.MixedCase"]
    spelling_show_suggestions = True

html_theme = "furo"
html_title = "twisted_net"
html_static_path = ["_static"]
html_css_files = ["guide.css"]

# A reader copies the command that a page shows, not the prompt and not the answer.
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

doctest_default_flags = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True

# The inventory lies beside this file, so that a build needs no network. It is Python's own, as
# Debian packages it (python3.11-doc).
intersphinx_mapping = {"python": ("https://docs.python.org/3.11", "inventories/python.inv")}

nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(twisted|zope|OpenSSL|prometheus_client)\..*"),  # they have no such inventory
    ("py:.*", r"<InterfaceClass .*"),  # how zope shows an interface
    ("py:.*", r"I[A-Z]\w+"),  # an interface of Twisted's
    ("py:.*", r"(Deferred|Failure|Clock|CertificateOptions|CancelledError)"),  # Twisted's
]

FACES = (
    *("twisted_net", "twisted_net.chat", "twisted_net.web", "twisted_net.eager"),
    "twisted_net.testing",
)
PUBLIC = {
    name: face for face in reversed(FACES) for name in importlib.import_module(face).__all__
}

# What docstrings name and the reference does not show, because it is private. It stays text.
INTERNAL = re.compile(
    r"twisted_net\.[\w.]+|.*twisted_net\.interfaces\._.*|State|ProxiedFactory|client_endpoint|Bounds"
    r"|Store\.start|_Diverged|MAX_MESSAGE|LOOK_EVERY|ROTATE_TICKETS_EVERY|privilegedStartService"
    r"|belong_to|admit_client|ConnectionFactory\.continue_as|collections\.abc\.Callable\[.*"
)


def resolve_public(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> nodes.Node | None:
    """Find public names by the modules that define them, as type annotations name them."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py":
        return None
    last = target.rpartition(".")[2]
    if last in PUBLIC:
        found = env.get_domain("py").resolve_xref(
            env, node["refdoc"], app.builder, "obj", f"{PUBLIC[last]}.{last}", node, content
        )
        if found is not None:
            return found
    if INTERNAL.fullmatch(target) or node.get("reftype") == "attr":
        return content  # so does an attribute that the text of its class describes
    return None


def setup(app: Sphinx) -> dict[str, Any]:
    """Register what stands above."""
    app.connect("missing-reference", resolve_public)
    app.add_directive("close-codes", CloseCodes)
    app.add_directive("json-messages", JsonMessages)
    return {"parallel_read_safe": True}
