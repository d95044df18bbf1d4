"""Tests for :mod:`twisted_net.eager.session_tickets`: nothing is written without proof."""

from __future__ import annotations

import ctypes
import os
from typing import Any

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.eager import session_tickets
from twisted_net.eager.session_tickets import (
    TICKET_KEY_BYTES,
    TicketKeysUnsupported,
    check_supported,
    set_ticket_key,
)


class ProofTests(SynchronousTestCase):
    """How the place of the key is found."""

    def setUp(self) -> None:
        self.forget()
        self.addCleanup(self.forget)
        self.written: list[int] = []
        self.real_memory = session_tickets._read_memory

    def forget(self) -> None:
        session_tickets._place_of_name.cache_clear()

    def assertUnsupported(self, why: str) -> None:
        """Check that a key cannot be set, and that no byte was written."""

        def note(address: int, data: bytes, size: int) -> None:
            self.written.append(address)

        self.patch(ctypes, "memmove", note)
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        with self.assertRaisesRegex(TicketKeysUnsupported, why):
            set_ticket_key(context, os.urandom(TICKET_KEY_BYTES))
        with self.assertRaisesRegex(TicketKeysUnsupported, why):
            check_supported()
        self.assertEqual(self.written, [])

    def test_this_openssl(self) -> None:
        """This OpenSSL's key can be set; the tickets of a context are then made with it."""
        check_supported()
        key = os.urandom(TICKET_KEY_BYTES)
        context = session_tickets._probe_context()
        before = session_tickets._ticket_of(context)
        self.assertFalse(session_tickets._is_of(before, key))
        set_ticket_key(context, key)
        self.assertTrue(session_tickets._is_of(session_tickets._ticket_of(context), key))

    def test_a_key_of_another_size(self) -> None:
        """A key of another size is an error, before anything is written."""
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        for size in (0, 48, TICKET_KEY_BYTES - 1, TICKET_KEY_BYTES + 1):
            with self.assertRaisesRegex(ValueError, f"must have 80 bytes, not {size}"):
                set_ticket_key(context, bytes(size))

    def test_the_name_is_elsewhere(self) -> None:
        """The name of a ticket's key is not in the context."""
        self.patch(session_tickets, "_read_memory", lambda address, size: bytes(size))
        self.assertUnsupported("keeps the key elsewhere")

    def test_the_secrets_are_elsewhere(self) -> None:
        """What is behind the name are not the secrets: they do not give the ticket's code, or do
        not decrypt it."""

        real = self.real_memory
        for wrong in (slice(0, 32), slice(32, 64)):  # one authenticates, the other encrypts

            def read(address: int, size: int, wrong: slice = wrong) -> bytes:
                found = bytearray(real(address, size))
                if size == session_tickets._SECRETS:
                    found[wrong] = bytes(32)
                return bytes(found)

            self.patch(session_tickets, "_read_memory", read)
            self.assertUnsupported("keeps the key elsewhere")

    def test_no_address(self) -> None:
        """What is behind the name is no address: reading there fails, and does not crash."""

        def read(address: int, size: int) -> bytes:
            if size == session_tickets._POINTER:
                return b"\xff" * size
            return self.real_memory(address, size)

        self.patch(session_tickets, "_read_memory", read)
        self.assertUnsupported("memory cannot be read")

    def test_no_proc(self) -> None:
        """Without ``/proc``, nothing can be proved."""

        def read(address: int, size: int) -> bytes:
            raise FileNotFoundError(2, "No such file or directory", "/proc/self/mem")

        self.patch(session_tickets, "_read_memory", read)
        self.assertUnsupported("memory cannot be read: .*/proc/self/mem")

    def test_no_tickets(self) -> None:
        """An OpenSSL that makes no tickets is not changed."""
        real: Any = session_tickets._probe_context

        def without_tickets() -> Any:
            context = real()
            context.set_options(SSL.OP_NO_TICKET)
            return context

        self.patch(session_tickets, "_probe_context", without_tickets)
        self.assertUnsupported("makes no session tickets")

    def test_an_unknown_pyopenssl(self) -> None:
        """Without the address of a context, nothing can be found."""
        self.patch(session_tickets, "context_address", lambda context: None)
        self.assertUnsupported("this pyOpenSSL is unknown")

    def test_it_is_not_used(self) -> None:
        """If OpenSSL does not use what was written, that is an error too."""
        self.patch(session_tickets, "_write", lambda context, offset, key: None)
        with self.assertRaisesRegex(TicketKeysUnsupported, "does not use the key"):
            check_supported()
