"""The flags that all services share: names, defaults, help texts, and groups for ``--help``."""

from __future__ import annotations

from twisted_net.endpoints.listening import DRAIN
from twisted_net.endpoints.socket_options import DEFAULT_SOCKET_OPTIONS
from twisted_net.policy.limits import DEFAULT_LIMITS
from twisted_net.services.help import FlagGroup

DEFAULT_PORT = 8080

_PORT_HELP = (
    "TCP port without TLS. 0 picks a free port. "
    f"[default: {DEFAULT_PORT}, or none with --tls-port or --listen]"
)
_INTERFACE_HELP = "IP address to listen on. [default: all, IPv4 and IPv6]"
REUSE_PORT_HELP = (
    "Let other processes listen on the same port, with the same flag. The kernel spreads new "
    "connections among them. For --port and --tls-port."
)
IPV6_ONLY_HELP = "Leave IPv4 to others: --port and --tls-port listen on IPv6 alone."
_TLS_PORT_HELP = "TCP port with TLS. 0 picks a free port."
_CERT_HELP = "File with the TLS certificate and its chain (PEM)."
_KEY_HELP = "File with the private key of the certificate (PEM)."
_PASSPHRASE_FILE_HELP = (
    "File with the passphrase of encrypted keys, in its first line. It is read again whenever the "
    "keys are."
)
_PASSPHRASE_ENV_HELP = "Environment variable with the passphrase of encrypted keys."
_TLS_DIR_HELP = (
    "Directory of certificates and keys. The server picks one by the name that the client asks "
    "for (SNI). Replaces --cert and --key."
)
_CLIENT_CA_HELP = (
    "File with CA certificates (PEM). Clients must have a certificate that one of them has signed."
)
OPTIONAL_CLIENT_HELP = (
    "With --client-ca, accept clients without a certificate too. A certificate that none of the "
    "CAs has signed is refused all the same."
)
_MIN_TLS_HELP = "Oldest version of TLS: 1.2 or 1.3."
_TICKET_KEY_HELP = (
    "File with 80 random bytes, the key of session tickets. Servers that share it resume each "
    "other's sessions. It is read again when it changes, and on SIGHUP."
)
ALLOW_EXPIRED_HELP = "Start with certificates that have expired, or are not valid yet."
_KEYLOG_HELP = (
    "File to append the keys of all TLS connections to. Anyone with the file can decrypt them. For "
    "debugging only."
)
SELF_SIGNED_HELP = "Make a certificate for this run. For development only."
_CONNECTIONS_HELP = (
    "Open connections, at most. 0 means no limit. "
    "[default: what the limit on file descriptors allows]"
)
_ADDRESS_HELP = (
    "Open connections from one IPv4 address or IPv6 /64 network, at most. 0 means no limit."
)
_ACCEPT_HELP = (
    "New connections per second from one address, on average. A faster address is rejected for "
    "10 seconds. 0 means no limit."
)
_MESSAGE_SIZE_HELP = "Bytes in one message, at most."
_RATE_HELP = (
    "Messages per second from one client, on average. The server reads a faster client more "
    "slowly. 0 means no limit."
)
_BURST_HELP = "Messages that a client may send at once after a pause, for --rate."
_QUEUE_HELP = "Bytes that may wait for one slow client."
_SLOW_HELP = "What to do when --queue-limit is reached: close, drop-oldest or drop-newest."
_BUDGET_HELP = (
    "Bytes that may wait for all slow clients together. Above it, the clients with the most bytes "
    "waiting are closed. 0 means no limit."
)
_IDLE_HELP = "Seconds without data from a client until it is closed. 0 means never."
_MESSAGE_HELP = "Seconds until a client with an incomplete message is closed. 0 means never."
_HANDSHAKE_HELP = (
    "Seconds that a TLS handshake may take, or a browser's first request. 0 means no limit."
)
_KEEPALIVE_HELP = "Seconds of silence until TCP sends a keepalive probe. 0 means never."
_KEEPALIVE_INTERVAL_HELP = "Seconds between probes."
_KEEPALIVE_COUNT_HELP = "Unanswered probes until the connection is lost."
_USER_TIMEOUT_HELP = (
    "Seconds that sent data may stay unacknowledged until the connection is lost. 0 means the "
    "system's setting. [default: keepalive + keepalive-interval * keepalive-count]"
)
_LOG_ENDS_HELP = (
    "Closed connections to log: all but those of clients that sent nothing, or only notable ones, "
    "such as those closed by a limit."
)
_ADMIN_HELP = (
    "Twisted server endpoint for operators, such as tcp:9191:interface=127.0.0.1 or "
    "unix:/run/chat.admin:mode=600: metrics, health, connections, bans. See docs/monitoring.rst."
)
_TOKEN_HELP = (
    "File whose first line is the token that operators must know. Without it, --admin listens only "
    "on loopback addresses and Unix sockets. It is read again when it changes."
)
_LOG_LEVEL_HELP = "Least level that is logged: debug, info, warn, error or critical."
_LOG_FORMAT_HELP = (
    "How the log is written: text, or json for one object a line. The line about the end of a "
    "connection has its reason, name, seconds, bytes and messages in fields of their own."
)
_DRAIN_HELP = "Seconds that open connections have to end when the service stops."
_CONFIG_HELP = (
    "File with a flag on each line: port = 8080, self-signed = yes. Repeatable flags have several "
    "lines. A flag on the command line replaces all lines with its name. SIGHUP reads it again."
)

SHARED_GROUPS = (
    FlagGroup(
        "Listening",
        {
            "port": "PORT",
            "interface": "ADDRESS",
            "ipv6-only": "",
            "reuse-port": "",
            "listen": "ENDPOINT",
            "proxy-protocol": "RANGES",
        },
    ),
    FlagGroup(
        "TLS",
        {
            "tls-port": "PORT",
            "cert": "FILE",
            "key": "FILE",
            "key-passphrase-file": "FILE",
            "key-passphrase-env": "NAME",
            "tls-dir": "DIR",
            "self-signed": "",
            "allow-expired": "",
            "client-ca": "FILE",
            "optional-client-certificate": "",
            "min-tls": "VERSION",
            "ticket-key": "FILE",
            "keylog": "FILE",
        },
    ),
    FlagGroup(
        "Who may connect",
        {
            "max-connections": "N",
            "max-per-address": "N",
            "accept-rate": "N",
            "allow": "RANGES",
            "deny": "RANGES",
        },
    ),
    FlagGroup(
        "Messages and queues",
        {
            "max-message": "BYTES",
            "rate": "N",
            "burst": "N",
            "queue-limit": "BYTES",
            "slow": "POLICY",
            "memory-budget": "BYTES",
        },
    ),
    FlagGroup(
        "Timeouts",
        {
            "idle-timeout": "SECONDS",
            "message-timeout": "SECONDS",
            "handshake-timeout": "SECONDS",
        },
    ),
    FlagGroup(
        "TCP keepalive",
        {
            "keepalive": "SECONDS",
            "keepalive-interval": "SECONDS",
            "keepalive-count": "N",
            "user-timeout": "SECONDS",
        },
    ),
    FlagGroup(
        "Operators",
        {"admin": "ENDPOINT", "admin-token-file": "FILE", "admin-host": "NAME"},
    ),
    FlagGroup("Logging", {"log-ends": "WHICH", "log-level": "LEVEL", "log-format": "FORMAT"}),
    FlagGroup("Stopping", {"drain": "SECONDS"}),
    FlagGroup("Configuration", {"config": "FILE"}),
    FlagGroup("Help", {"version": "", "help": ""}),
)
"""The flags that all services share, in the order of ``--help``."""


def shared_flags(
    *,
    idle_timeout: float = DEFAULT_LIMITS.idle_timeout,
    max_message: int = DEFAULT_LIMITS.max_message,
) -> list[list[str | None]]:
    """Return the flags with a value that all services share, with the defaults of a service."""
    limits, sockets = DEFAULT_LIMITS, DEFAULT_SOCKET_OPTIONS
    return [
        ["port", "p", None, _PORT_HELP],
        ["interface", "i", None, _INTERFACE_HELP],
        ["tls-port", None, None, _TLS_PORT_HELP],
        ["cert", None, None, _CERT_HELP],
        ["key", None, None, _KEY_HELP],
        ["tls-dir", None, None, _TLS_DIR_HELP],
        ["client-ca", None, None, _CLIENT_CA_HELP],
        ["key-passphrase-file", None, None, _PASSPHRASE_FILE_HELP],
        ["key-passphrase-env", None, None, _PASSPHRASE_ENV_HELP],
        ["min-tls", None, "1.2", _MIN_TLS_HELP],
        ["ticket-key", None, None, _TICKET_KEY_HELP],
        ["keylog", None, None, _KEYLOG_HELP],
        ["idle-timeout", None, f"{idle_timeout:g}", _IDLE_HELP],
        ["handshake-timeout", None, f"{limits.handshake_timeout:g}", _HANDSHAKE_HELP],
        ["message-timeout", None, f"{limits.message_timeout:g}", _MESSAGE_HELP],
        ["max-connections", None, None, _CONNECTIONS_HELP],
        ["max-per-address", None, "0", _ADDRESS_HELP],
        ["accept-rate", None, "0", _ACCEPT_HELP],
        ["queue-limit", None, str(limits.queue_limit), _QUEUE_HELP],
        ["slow", None, limits.overflow_policy.value, _SLOW_HELP],
        ["memory-budget", None, "0", _BUDGET_HELP],
        ["rate", None, "0", _RATE_HELP],
        ["burst", None, str(limits.burst), _BURST_HELP],
        ["max-message", None, str(max_message), _MESSAGE_SIZE_HELP],
        ["drain", None, f"{DRAIN:g}", _DRAIN_HELP],
        ["keepalive", None, str(sockets.keepalive_idle), _KEEPALIVE_HELP],
        ["keepalive-interval", None, str(sockets.keepalive_interval), _KEEPALIVE_INTERVAL_HELP],
        ["keepalive-count", None, str(sockets.keepalive_count), _KEEPALIVE_COUNT_HELP],
        ["user-timeout", None, None, _USER_TIMEOUT_HELP],
        ["admin", None, None, _ADMIN_HELP],
        ["admin-token-file", None, None, _TOKEN_HELP],
        ["log-ends", None, "all", _LOG_ENDS_HELP],
        ["log-level", None, "debug", _LOG_LEVEL_HELP],
        ["log-format", None, "text", _LOG_FORMAT_HELP],
        ["config", None, None, _CONFIG_HELP],
    ]
