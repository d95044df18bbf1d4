"""Tests of ``twisted_net/endpoints/``."""
