"""Tests: the command line itself."""
