"""A lab on this machine: hosts on loopback addresses, no root, no Docker."""
