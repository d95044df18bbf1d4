"""Certificates, and the OpenSSL contexts made from them.

:mod:`~twisted_net.tls.certificates` is the module for users: it picks certificates by the name that
a client asks for, and reloads them while the server runs. It finds files with
``certificate_files``, reads them with ``key_pairs``, and makes OpenSSL contexts with ``contexts``.
"""
