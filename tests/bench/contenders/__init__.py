"""The same work by other means: OpenSSH and shell, Ansible, pyinfra, bare paramiko."""
