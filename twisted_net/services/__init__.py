"""The services that ``twistd`` runs.

``flags`` has the flags that all services share, ``help`` formats them for ``--help``, and
``options`` parses them and makes listeners and limits from them; ``configurable`` and
``config_file`` read flags from a file. ``echo``, ``idle`` and ``chat`` add their own flags, and
define the ``makeService`` that twistd calls. ``starting`` makes a failed start print one line and
no traceback, ``twistd_flags`` checks twistd's own flags, and ``privileges`` says what a service
cannot do without root. ``reloader`` reloads renewed certificates. ``admin_flags`` adds the
operator's view, and ``log_format`` writes the log as JSON. ``service_manager`` tells systemd how a
service is, and ``completion`` is for shells.
``workers/`` serves with several processes, and ``listening_sockets`` says whose sockets they are.
"""
