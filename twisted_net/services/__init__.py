"""What ``twistd`` runs.

``flags`` has the flags that all services share, ``help`` lays them out for ``--help``, and
``options`` parses them and makes listeners and limits of them. ``echo``, ``idle`` and ``chat`` each
add their own flags and have the ``makeService`` that twistd calls. ``starting`` makes a start fail
with one line and no traceback, and ``reloader`` reloads renewed certificates.
"""
