"""Migrations that only tests have: they change tables that are in use, as later releases will."""
