"""Tests: the judges of Kubernetes."""
