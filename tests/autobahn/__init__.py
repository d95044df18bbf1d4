"""The cases of the Autobahn test suite, played against a WebSocket server of ours.

``python -m tests.autobahn [PATTERN...]`` downloads the suite, runs it and prints the sums. The
suite is for Python 2: :mod:`tests.autobahn.porting` makes a package for Python 3 of its cases, in
a temporary directory. :mod:`tests.autobahn.player` plays them, with an ``autobahn`` in a virtual
environment of its own. Neither is part of this project.
"""
