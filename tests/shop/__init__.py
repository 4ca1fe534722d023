"""A small shop that stands for a user's business code; its tables are created without migrations."""
