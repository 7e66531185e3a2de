"""Tests: what tests of several folders use."""
