"""The settings of Sphinx: ``sphinx-build -W -n docs docs/_build/html``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

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
html_theme = "furo"
html_title = "twisted_net"
html_static_path = ["_static"]
html_css_files = ["guide.css"]
nitpicky = True

# A reader copies the command that a page shows, not the prompt and not the answer.
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
