"""Tests: game days."""
