"""Floor 5: what waits in the triggerer."""
