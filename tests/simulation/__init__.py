"""Runs the real relay against hours of a platform's behaviour in seconds: simulated time jumps ahead."""
