# A blank machine: a Debian with systemd, sshd and what a kubelet stands on; nothing of etcd.
ARG BASE
FROM ${BASE}
COPY init /usr/local/sbin/lab-init
COPY containerd.toml /etc/containerd/config.toml
# Masked: what a container cannot have, and what would reach out of the machine by itself.
RUN useradd --create-home --shell /bin/sh ops \
 && echo 'ops ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/ops \
 && chmod 440 /etc/sudoers.d/ops \
 && rm -f /etc/ssh/ssh_host_* \
 && systemctl disable --quiet containerd \
 && systemctl mask systemd-resolved systemd-logind systemd-udevd getty.target console-getty.service \
      apt-daily.timer apt-daily-upgrade.timer
STOPSIGNAL SIGRTMIN+3
CMD ["/usr/local/sbin/lab-init"]
