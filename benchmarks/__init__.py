"""Compares our servers with others, in turns on the same two cores.

``python -m benchmarks --help``. :mod:`~benchmarks.cases` defines what is measured and the names of
the figures, :mod:`~benchmarks.servers` the servers. :mod:`~benchmarks.measure` takes one sample,
:mod:`~benchmarks.rounds` many of them in turns. :mod:`~benchmarks.report` and
:mod:`~benchmarks.plot` show them, and :mod:`~benchmarks.goals` defines what must be reached. The
load generator is in C, in ``load/``; the other servers are in ``peers/``. Linux only: figures come
from ``/proc``.
"""
