"""Servers and clients on loopback, each in a process of its own."""
