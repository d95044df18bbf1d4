"""The operator's view, for ``--admin``: metrics, health, connections, taps and a few commands.

``access`` decides who may ask (pure). ``site`` answers requests, and ``responses`` writes them.
``views`` is what one service shows and does, ``figures`` reads its numbers, ``metrics`` formats them
for Prometheus, and ``listing`` makes pages of connections. ``endings`` remembers the connections
that have ended, ``ages`` when they began, ``histogram`` and ``probe`` measure. ``tap`` shows what one
connection says and hears, and ``redaction`` hides the passwords in it (pure). ``page/`` has the files
of the dashboard.

Nothing is counted while messages are handled: what is shown is read when somebody asks.
"""
