"""Models of every kind of column, for the tests that compare events with rows; tables without migrations."""
