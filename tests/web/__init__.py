"""Tests of HTTP and WebSocket."""
