"""The pages ``docs/from-node*.rst`` have every member of Node's, and our names in them exist."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from tests.guide_names import DOCS, LEFT_OUT, problem, rows

NET, TLS, CLUSTER = (DOCS / f"from-node{name}.rst" for name in ("", "-tls", "-cluster"))

_NET = """
allowHalfOpen highWaterMark noDelay keepAlive keepAliveInitialDelay pauseOnConnect blockList 'close'
'connection' 'error' 'listening' 'drop' server.address server.close Symbol.asyncDispose
Symbol.asyncIterator getConnections server.listen readableAll writableAll exclusive ipv6Only
reusePort handle signal server.listening maxConnections dropMaxConnection ref unref
captureRejections net.Socket fd onread typeOfService getTypeOfService setTypeOfService 'connect'
'ready' 'connectionAttempt' 'connectionAttemptFailed' 'connectionAttemptTimeout' 'data' 'drain'
'end' 'lookup' 'timeout' socket.address localAddress localPort localFamily remoteAddress remotePort
remoteFamily autoSelectFamilyAttemptedAddresses bufferSize writableLength writableHighWaterMark
readableHighWaterMark writableNeedDrain readableLength bytesRead bytesWritten socket.connect
autoSelectFamily autoSelectFamilyAttemptTimeout family hints lookup path timeout connecting pending
readyState readable writable readableEnded writableEnded writableFinished destroy destroyed
destroySoon end pause resume isPaused resetAndDestroy server setEncoding setKeepAlive setNoDelay
setTimeout write cork uncork writev pipe diagnostics_channel BlockList check addAddress addSubnet
addCIDR addRange removeAddress removeSubnet removeCIDR clear rules size fromJSON toJSON isBlockList
PRIVATE_RANGES SocketAddress address flowlabel SocketAddress.parse BoundSocket close dispose isPipe
net.connect net.createConnection net/promises net.getDefaultAutoSelectFamily net.isIP net.isIPv4
net.isIPv6 net.createServer net.Server
"""
"""The members of Node's documentation of net, by the names that the page must have."""

_TLS = """
tls.createServer tls.Server cert key passphrase ca requestCert rejectUnauthorized minVersion
maxVersion ticketKeys getTicketKeys setTicketKeys sessionTimeout ALPNProtocols ALPNCallback
SNICallback addContext setSecureContext handshakeTimeout 'keylog' enableTrace 'secureConnection'
'tlsClientError' 'newSession' 'resumeSession' 'OCSPRequest' pskCallback pskIdentityHint pfx crl
ciphers ecdhCurve sigalgs honorCipherOrder secureProtocol dhparam secureOptions sessionIdContext
allowPartialTrustChain highWaterMark privateKeyEngine privateKeyIdentifier clientCertEngine
tls.connect servername session 'session' getSession getTLSTicket timeout socket path
checkServerIdentity requestOCSP 'OCSPResponse' minDHSize tls.TLSSocket 'secureConnect' address
localAddress localPort remoteAddress remoteFamily remotePort setServername setSession setKeyCert
alpnProtocol isSessionReused authorized authorizationError getPeerCertificate
getPeerX509Certificate getCertificate getX509Certificate getCipher getProtocol getEphemeralKeyInfo
getFinished getPeerFinished exportKeyingMaterial encrypted renegotiate disableRenegotiation
getSharedSigalgs setMaxSendFragment tls.createSecureContext tls.checkServerIdentity
tls.rootCertificates tls.getCACertificates tls.setDefaultCACertificates tls.getCiphers
tls.DEFAULT_CIPHERS tls.DEFAULT_ECDH_CURVE tls.DEFAULT_MIN_VERSION tls.DEFAULT_MAX_VERSION
tls.CLIENT_RENEG_LIMIT tls.CLIENT_RENEG_WINDOW tls.convertALPNProtocols tls.createSecurePair
"""
"""The members of Node's documentation of tls."""

_CLUSTER = """
cluster.fork NODE_UNIQUE_ID cluster.setupPrimary setupMaster cluster.settings exec args cwd
serialization silent stdio uid gid inspectPort windowsHide cluster.schedulingPolicy SCHED_RR
SCHED_NONE NODE_CLUSTER_SCHED_POLICY isPrimary isMaster isWorker cluster.worker cluster.workers
cluster.disconnect 'disconnect' 'exit' 'fork' 'listening' 'message' 'online' 'setup' 'error'
worker.disconnect exitedAfterDisconnect worker.id isConnected isDead worker.kill worker.process
worker.send
"""
"""The members of Node's documentation of cluster."""


class NameTests(SynchronousTestCase):
    """The tables of the three pages."""

    def test_every_name_exists(self) -> None:
        """Each of our names can be used as it is written: flags, keywords, options, attributes."""
        for page, least in ((NET, 100), (TLS, 60), (CLUSTER, 15)):
            names = [name for row in rows(page) for name in row.our_names]
            self.assertGreater(len(names), least)
            wrong = {name: problem(name) for name in names if problem(name)}
            self.assertEqual(wrong, {}, page.name)

    def test_what_does_not_exist_is_found(self) -> None:
        """Names that do not exist are noticed, of each kind."""
        for name in (
            *("Connexion", "Connection.is_pausd", "ConnectionFactory.nothing", "Ranges.size"),
            *("connect(tiemout=)", "net(dney=)", "--dney", "chat.Nothing", "/metricks"),
            *("Certificates(nonsense=)", "Certificates.from_files(nonsense=)", "net(clientCA=)"),
            *("nettls(nonsense=)", "Certificates.nonsense", "handle.nonsense", "nonsense"),
            *("transport.nonsense", "ConnectionFactory(idle_tmeout=)", "twisted.nonsense"),
        ):
            self.assertTrue(problem(name), name)

    def test_what_exists_is_found(self) -> None:
        """Names that a function passes on to another one are known."""
        for name in ("ConnectionFactory.forProtocol(idle_timeout=)", "GuardFactory(rate=)"):
            self.assertEqual(problem(name), "")

    def test_each_row_has_ours_or_the_reason(self) -> None:
        """Each member of Node's has a name of ours, or the reason why it was left out."""
        for page in (NET, TLS, CLUSTER):
            for row in rows(page):
                if row.ours == LEFT_OUT:
                    self.assertTrue(row.note.endswith("."), f"{row.theirs}: no reason")
                elif not row.ours.startswith(("not needed", "two hours", "SIG", "twistd")):
                    self.assertTrue(row.our_names, row.theirs)

    def test_every_member_has_a_row(self) -> None:
        """No member of Node's three modules is forgotten."""
        for page, members in ((NET, _NET), (TLS, _TLS), (CLUSTER, _CLUSTER)):
            known = " ".join(row.theirs for row in rows(page))
            for member in members.split():
                self.assertRegex(known, rf"(?<!\w){re.escape(member)}(?!\w)")
