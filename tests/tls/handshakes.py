"""TLS in memory, and certificates for tests."""

from __future__ import annotations

import contextlib
import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from twisted_net.tls.certificates import Certificates

NOW = datetime.datetime.now(datetime.UTC)

DAY = datetime.timedelta(days=1)


class Issued:
    """A self-signed certificate and its key, quickly made.

    :param names: host names; the first is also the common name.
    :param days: when it expires, and ``since``: when it becomes valid, in days from now.
    :param issuer: who signs it; without one, it is self-signed.
    """

    def __init__(
        self,
        *names: str,
        days: float = 30,
        since: float | None = None,
        common: str | None = None,
        issuer: Issued | None = None,
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common or [*names, "nobody"][0])]
        subject = x509.Name(attributes if common != "" else [])
        builder = (
            x509.CertificateBuilder(
                issuer.certificate.subject if issuer else subject, subject, key.public_key()
            )
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + (min(-1, days - 1) if since is None else since) * DAY)
            .not_valid_after(NOW + days * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        )
        found: list[x509.GeneralName] = [
            x509.RFC822Name(name) if "@" in name else x509.DNSName(name) for name in names
        ]
        if found:
            builder = builder.add_extension(x509.SubjectAlternativeName(found), critical=False)
        self.certificate = builder.sign(issuer.private_key if issuer else key, hashes.SHA256())
        self.private_key = key
        self.cert = self.certificate.public_bytes(serialization.Encoding.PEM)
        self.key = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def encrypted_key(self, passphrase: bytes) -> bytes:
        """Return its key in PEM form, encrypted."""
        return self.private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(passphrase),
        )

    @property
    def serial(self) -> int:
        """Its serial number, which is unique."""
        return self.certificate.serial_number

    def write(self, cert: Path, key: Path | None = None) -> None:
        """Write it to two files, or to one."""
        cert.parent.mkdir(parents=True, exist_ok=True)
        if key is None:
            cert.write_bytes(self.key + self.cert)
        else:
            cert.write_bytes(self.cert)
            key.write_bytes(self.key)


class Visitor:
    """A client in memory, and its connection to a server.

    :ivar client: the client's side, which accepts every certificate.
    :ivar server: the server's side.
    """

    def __init__(
        self,
        certificates: Certificates,
        name: str = "",
        *,
        identity: Issued | None = None,
        alpn: list[bytes] | None = None,
        context: SSL.Context | None = None,
        session: SSL.Session | None = None,
        versions: tuple[int, int] = (0, 0),
        protocol: Any = None,
    ) -> None:
        self.context = context or SSL.Context(SSL.TLS_CLIENT_METHOD)
        if context is None:
            self.context.set_min_proto_version(versions[0])
            self.context.set_max_proto_version(versions[1])
            self.context.set_cipher_list(b"ALL:@SECLEVEL=0")
        if identity is not None:
            self.context.use_certificate(identity.certificate)
            self.context.use_privatekey(identity.private_key)
        if alpn is not None:
            self.context.set_alpn_protos(alpn)
        self.client = SSL.Connection(self.context)
        self.client.set_connect_state()
        if name:
            self.client.set_tlsext_host_name(name.encode())
        if session is not None:
            self.client.set_session(session)
        self.server = certificates.serverConnectionForTLS(protocol)
        self.server.set_accept_state()
        self.server.set_app_data(protocol)

    def carry(self) -> None:
        """Carry the data of each side to the other."""
        for one, other in ((self.client, self.server), (self.server, self.client)):
            with contextlib.suppress(SSL.WantReadError):
                other.bio_write(one.bio_read(1 << 16))

    def shake_hands(self) -> Visitor:
        """Complete the handshake.

        :raises SSL.Error: one side failed; the client's error has precedence.
        """
        errors: dict[SSL.Connection, SSL.Error] = {}
        for _ in range(6):
            for side in (self.client, self.server):
                try:
                    side.do_handshake()
                except SSL.WantReadError:
                    pass
                except SSL.Error as error:
                    errors.setdefault(side, error)
                self.carry()
        try:
            self.client.recv(1)  # session tickets, or an alert after the client had finished
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            errors.setdefault(self.client, error)
        for side in (self.client, self.server):
            if side in errors:
                raise errors[side]
        return self

    def says(self, data: bytes) -> bytes:
        """Send from the client; return what the server receives."""
        self.client.send(data)
        self.carry()
        return self.server.recv(1 << 16)

    @property
    def saw(self) -> int:
        """The serial number of the certificate that the client got."""
        certificate = self.client.get_peer_certificate()
        assert certificate is not None
        return certificate.get_serial_number()

    @property
    def resumed(self) -> bool:
        """Whether the session was resumed: then no certificate is sent again.

        pyOpenSSL does not tell, but a full handshake contains the server's signature.
        """
        return bool(SSL._lib.SSL_session_reused(self.client._ssl))  # type: ignore[attr-defined]
