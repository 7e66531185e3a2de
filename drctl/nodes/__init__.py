"""What the nodes keep of every run, read back and believed only as far as they agree."""
