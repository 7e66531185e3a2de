"""Restore the etcd of a Kubernetes control plane over SSH, one checkpointed step at a time."""

__version__ = "0.2.0"
