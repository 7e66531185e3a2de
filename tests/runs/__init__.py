"""Tests: runs from beginning to end."""
