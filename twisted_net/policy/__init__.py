"""Floor 1: decisions. Pure: time is always an argument."""
