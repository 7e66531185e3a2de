"""Tests: commands over a simulated cluster."""
