"""What a run meant to do and did, and how that leaves the cluster."""
