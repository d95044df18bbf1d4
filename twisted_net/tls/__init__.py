"""Certificates, and the OpenSSL contexts made of them.

:mod:`~twisted_net.tls.certificates` is what users have: certificates picked by the name that a
client asks for, and reloaded while the server runs. It finds them by ``certificate_files``, reads
each by ``key_pairs``, and makes OpenSSL contexts by ``contexts``.
"""
