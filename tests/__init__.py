"""The tests, wherever ``trial tests`` is called.

``trial`` as pip installs it does not look into the current directory. So this file alone is
installed, and finds the tests of the checkout that it is called in.
"""

from pathlib import Path

_checkout = Path.cwd() / "tests"
if _checkout.is_dir() and str(_checkout) not in __path__:
    __path__.insert(0, str(_checkout))
