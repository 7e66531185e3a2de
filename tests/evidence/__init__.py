"""Tests: what a journal proves."""
