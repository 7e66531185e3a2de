"""Tests: what nodes keep."""
