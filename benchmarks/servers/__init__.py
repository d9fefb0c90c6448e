"""Servers and clients on loopback, each a process of its own."""
