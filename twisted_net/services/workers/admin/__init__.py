"""The operator's view of all workers: ``in_supervisor`` asks them, ``in_worker`` answers, ``sums``
adds up their metrics, and ``pages`` their lists (both pure).

What it takes is imported only if ``--admin`` is given.
"""
