"""Tests of ``twisted_net/services/``."""
