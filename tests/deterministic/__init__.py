"""The real code on a real database, one thread at a time: a seed decides every switch and every fault."""
