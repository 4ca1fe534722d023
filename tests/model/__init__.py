"""A model of the guarantees in Promela, checked by SPIN, and traces of the code replayed against it."""
