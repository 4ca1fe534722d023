"""The laws of the house, one file per room."""
