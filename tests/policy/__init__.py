"""Tests of ``twisted_net/policy/``."""
