"""Steps on hosts, journalled around: knows no product and no way to a host."""
