"""`make bench`: how long it takes, beside the same work done by other means. No test asserts a time."""
