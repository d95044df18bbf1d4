"""Tests of ``twisted_net/store/``."""
