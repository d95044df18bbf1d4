"""Tests of ``twisted_net/wire/``."""
