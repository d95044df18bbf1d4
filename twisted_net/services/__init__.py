"""What ``twistd`` runs.

``options`` has the flags that all services share and makes listeners and limits of them. ``echo``,
``idle`` and ``chat`` each add their own flags and have the ``makeService`` that twistd calls.
``starting`` makes a start fail with one line and no traceback, and ``reloader`` reloads renewed
certificates.
"""
