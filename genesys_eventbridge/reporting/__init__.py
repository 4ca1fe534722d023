"""What operators are told: what happens next to an event, how a destination is, and its numbers."""
