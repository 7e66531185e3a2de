"""Runbook and inventory in, every script of every step on every host out, before anything runs."""
