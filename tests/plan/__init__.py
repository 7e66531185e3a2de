"""Tests: plans, and the golden ones."""
