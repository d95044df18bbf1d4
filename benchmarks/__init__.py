"""Measures our servers beside others, in turns on the same two cores.

``python -m benchmarks --help``. :mod:`~benchmarks.cases` says what is measured and how it is
named, :mod:`~benchmarks.servers` who takes part, :mod:`~benchmarks.measure` takes one sample,
:mod:`~benchmarks.rounds` many of them in turns, :mod:`~benchmarks.report` and
:mod:`~benchmarks.plot` show them, and :mod:`~benchmarks.goals` says what must come out. The load
generator is in C, in ``load/``; the servers of others are in ``peers/``. Linux only: figures come
from ``/proc``.
"""
