"""Tests on nodes with systemd as PID 1, each a container of the local Docker engine."""
