"""Tests: what a person sees."""
