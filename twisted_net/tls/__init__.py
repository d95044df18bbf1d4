"""Certificates, and the OpenSSL contexts made from them.

:mod:`~twisted_net.tls.certificates` is the module for users: it picks certificates by the name that
a client asks for, and reloads them; ``certificate_watch`` does so while the server runs. It finds
files with ``certificate_files``, reads them with ``key_pairs``, ``passphrases`` and
``ticket_keys``, checks their dates with ``validity``, logs them with ``announcements``, and makes
OpenSSL contexts with ``contexts``. ``client_settings`` is for clients, and ``sessions`` resumes
their sessions.
"""
