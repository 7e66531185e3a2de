"""`make bench`: how long it takes, beside the same work by other means. No test asserts a time."""
