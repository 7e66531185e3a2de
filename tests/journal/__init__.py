"""Tests: the journal."""
