"""Tests of ``twisted_net/connection/``."""
