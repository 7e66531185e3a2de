"""A run from its beginning to its end: begun, planned again, rolled back, explained."""
