"""The services that ``twistd`` runs.

``flags`` has the flags that all services share, ``help`` formats them for ``--help``, and
``options`` parses them and makes listeners and limits from them. ``echo``, ``idle`` and ``chat``
add their own flags, and define the ``makeService`` that twistd calls. ``starting`` makes a failed
start print one line and no traceback, and ``reloader`` reloads renewed certificates.
"""
