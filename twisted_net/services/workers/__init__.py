"""``--workers``: a supervisor that accepts, and worker processes that serve.

The process that the operator has started is the supervisor. It holds the listening sockets and
serves nobody itself. Each worker is a ``twistd`` of its own with the same command line. The way of
a connection, in the order of the files:

1. ``numbers`` parses ``--workers``.
2. ``sockets`` gives the options of the supervisor endpoints that accept for its workers, and those
   of a worker endpoints that wait for what the supervisor has accepted.
3. ``handoff`` passes a connection to a worker, with the supervisor's decision about it (pure but
   for the sockets), and ``shared_admission`` is what a worker knows of that decision.
4. ``settings`` are what a worker is told before it starts, and ``this_process`` knows them.
5. ``program`` is what a worker runs, ``spawning`` starts it, ``log_lines`` carries its log.
6. ``channel`` is the line between both: JSON lines with ids.
7. ``rotation`` says who gets the next connection, and ``deaths`` when a worker is started again, or
   the service ends (both pure).
8. ``dispatcher`` hands over what was accepted, ``pool`` keeps the workers running,
   ``supervisor`` is the service of the supervisor, ``handle`` one of its workers, and ``worker``
   the other end. ``making`` makes both, and ``serving`` decides which of them a process is.
9. ``admin`` has the operator's view of all workers.

An upgrade in place goes this way:

1. ``supervisor_upgrade`` says what comes after what: each worker, then the supervisor.
2. ``worker_upgrade`` is one worker's, as the supervisor sees it: the pool starts a new process, and
   passes the socket to it on to the old one, through ``handoff``. ``worker`` and ``moving`` give it
   everything, with the handoff socket itself, and what still waits in there.
3. ``supervisor_reexec`` lets the supervisor become new code; see ``services/reexec.py``. ``pool``
   and ``handle`` go on with the workers that run; ``adopted_process`` is a process of theirs.
"""
