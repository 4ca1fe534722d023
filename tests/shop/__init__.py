"""A small shop whose models stand for the user's business code; its tables are made without migrations."""
