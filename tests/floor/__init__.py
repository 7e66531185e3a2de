"""Tests: the floor: errors, answers, YAML, rendering."""
