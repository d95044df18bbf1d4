"""Tests of the program ``netchat-client``."""
