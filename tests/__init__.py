"""The tests, wherever ``trial tests`` is called.

``trial`` as pip installs it does not look into the current directory. So this file alone is
installed, and finds the tests of the checkout that it is called in, and what else they test there.
"""

import sys
from pathlib import Path

_checkout = Path.cwd()
if (_checkout / "tests" / "live").is_dir() and str(_checkout / "tests") not in __path__:
    __path__.insert(0, str(_checkout / "tests"))
    sys.path.append(str(_checkout))  # last: the package is to be the installed one
