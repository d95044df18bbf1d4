"""The operator's view, for ``--admin``: metrics, health, connections, taps and a few commands.

``service`` listens with a ``factory``, which programs may embed. ``access`` decides who may ask
(pure), ``token_file`` knows the token, ``site`` answers requests, and ``responses`` writes the
answers. ``views`` is what one service shows and can do, ``figures`` reads its numbers, ``metrics``
formats them for Prometheus, and ``listing`` makes pages of connections. ``slices`` cuts long work
into turns. ``endings`` remembers the connections that have ended; ``histogram``, ``probe`` and
``timed_store`` measure. ``tap`` shows what one connection says and hears, and ``redaction`` hides
the passwords in it (pure). ``log_level`` changes what is logged. ``page/`` has the files of the
dashboard.

Nothing is counted while messages are handled: what is shown is read when somebody asks.
"""
