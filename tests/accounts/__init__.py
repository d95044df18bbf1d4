"""Tests for :mod:`twisted_net.accounts`."""
