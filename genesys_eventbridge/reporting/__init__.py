"""Reports for operators: what happens next to an event, the state of each destination, and its numbers."""
