"""What twistd and twist find: one line a service. Nothing of ours is imported to list them."""

from twisted.application.service import ServiceMaker

# ruff: noqa: E501
# fmt: off
netecho = ServiceMaker("netecho", "twisted_net.services.echo", "Echo every byte (RFC 862).", "netecho")
netidle = ServiceMaker("netidle", "twisted_net.services.idle", "Idle limits and TLS before any TCP service.", "netidle")
netchat = ServiceMaker("netchat", "twisted_net.services.chat", "A chat for nc, telnet and programs.", "netchat")
