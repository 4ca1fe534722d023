"""Models with one column and one relation of every kind: what the catalogue of events must describe."""
