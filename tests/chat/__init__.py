"""Tests of ``twisted_net/chat/``."""
