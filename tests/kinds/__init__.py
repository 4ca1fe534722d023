"""Models with one column and one relation of every kind, for the tests of the event catalogue."""
