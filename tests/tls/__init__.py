"""Tests of ``twisted_net/tls/``."""
