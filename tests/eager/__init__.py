"""Tests of ``twisted_net/eager/``."""
