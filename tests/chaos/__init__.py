"""Chaos: real processes, HTTP and database; killed, frozen and cut off; a judge reads what is left."""
