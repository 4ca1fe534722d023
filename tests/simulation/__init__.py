"""Hours of a platform's behaviour against the real relay, in seconds: time here passes only in leaps."""
