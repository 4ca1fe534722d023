"""A model of the guarantees in Promela, checked exhaustively by SPIN, and traces of the code replayed against it."""
