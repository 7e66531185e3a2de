"""The Docker lab: machines with systemd as PID 1, real etcd under TLS, real Kubernetes in front."""
