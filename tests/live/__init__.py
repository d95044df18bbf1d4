"""Tests with real processes."""

import signal

# A shell that starts the tests in the background lets them ignore SIGINT. The programs that they
# start would inherit this, and then no Ctrl-C would end them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
