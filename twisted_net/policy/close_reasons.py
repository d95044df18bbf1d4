"""The table of reasons for which a connection ends.

Every connection ends for exactly one of these reasons. The reason's code appears in the last
message to the peer, in the log, and as the label of a metric. So a user's report, an operator's
graph and a log line can be compared.

Modeled on Centrifugo's ``disconnect.go``. WebSocket close codes are those of RFC 6455, section
7.4.1.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CloseReason:
    """A reason why a connection ended.

    :ivar code: a short, stable name for programs: used in the goodbye message, the log, and metric
        labels.
    :ivar text: one sentence for people.
    :ivar retry: whether a client should reconnect by itself.
    :ivar websocket: the close code for a WebSocket peer (RFC 6455, 7.4.1).
    :ivar notable: whether the end is always logged. Other ends are logged unless the factory says
        otherwise.
    """

    code: str
    text: str
    retry: bool
    websocket: int
    notable: bool = True

    def __str__(self) -> str:
        return self.code


# fmt: off
# ruff: noqa: E501
PEER_CLOSED = CloseReason("peer-closed", "The peer closed the connection.",                 False, 1000, notable=False)
PEER_RESET  = CloseReason("peer-reset",  "The peer reset the connection or vanished.",      True,  1006, notable=False)
CLOSED      = CloseReason("closed",      "The connection is closed.",                       False, 1000, notable=False)
QUIT        = CloseReason("quit",        "Goodbye.",                                        False, 1000, notable=False)
IDLE        = CloseReason("idle",        "Nothing was heard from you for too long.",        True,  1001)
SLOW        = CloseReason("slow",        "You read too slowly.",                            True,  1008)
TOO_LONG    = CloseReason("too-long",    "A message is longer than the limit.",             False, 1009)
UNFINISHED  = CloseReason("unfinished",  "A message took too long to arrive.",              True,  1008)
BAD_INPUT   = CloseReason("bad-input",   "What you sent is not understood.",                False, 1007)
FULL        = CloseReason("full",        "The server is full.",                             True,  1013)
TOO_MANY    = CloseReason("too-many",    "Too many connections from your address.",         True,  1013)
TOO_FAST    = CloseReason("too-fast",    "Your address connects too often.",                True,  1013)
DENIED      = CloseReason("denied",      "Your address may not connect here.",              False, 1008)
HANDSHAKE   = CloseReason("handshake",   "The handshake failed or took too long.",          True,  1002)
LOGIN       = CloseReason("login",       "The login failed.",                               False, 1008)
KICKED      = CloseReason("kicked",      "An operator closed the connection.",              False, 1008)
DRAINING    = CloseReason("draining",    "The server is restarting.",                       True,  1012)
UPSTREAM    = CloseReason("upstream",    "The service behind this one cannot be reached.",  True,  1014)
FAILED      = CloseReason("failed",      "The server made a mistake.",                      True,  1011)
# fmt: on

REASONS = {row.code: row for row in list(vars().values()) if isinstance(row, CloseReason)}
"""All reasons, by code."""
