"""Models with every kind of column, for tests that compare events with rows; tables without migrations."""
