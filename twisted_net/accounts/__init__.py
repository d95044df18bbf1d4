"""Accounts in a file: names and hashed passwords.

``hashes`` has the form of a hash. ``password_file`` reads and changes a file, ``checker`` checks
passwords with one, for :mod:`twisted.cred`, and ``passwd`` is the program ``netchat-passwd``.
``plugin_kinds`` mends other kinds of accounts, which Twisted has.
"""
