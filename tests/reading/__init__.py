"""Tests: what runs on a host, and the inventory held against it."""
