"""Chaos tests: real processes, HTTP and databases; processes are killed, frozen and disconnected."""
