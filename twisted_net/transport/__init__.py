"""Floor 2: where Twisted begins. Connections, groups of them, clients, TLS."""
