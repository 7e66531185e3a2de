#!/bin/sh
# Prints the tag of the lab's base image, having made it if the engine did not have it.
# Root with mmdebstrap needs no image registry; anybody else pulls debian:bookworm-slim.
set -eu
suite=bookworm
packages=systemd,systemd-sysv,dbus,openssh-server,sudo,iproute2,procps,curl,ca-certificates,busybox
# What a kubelet needs beside its own program; iptables also cuts the lab's network.
packages=$packages,containerd,containernetworking-plugins,runc,iptables,openssl,socat,conntrack,ethtool
tag=drctl-lab-base:$(sha256sum "$0" | cut -c1-12)

made_here() {
  [ "$(id -u)" = 0 ] && command -v mmdebstrap >/dev/null || return 1
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  mmdebstrap --quiet --variant=minbase --include="$packages" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' "$suite" "$folder/root.tar" >&2 &&
    docker import "$folder/root.tar" "$tag" >/dev/null
}

pulled() {
  docker build --quiet --tag "$tag" - >/dev/null <<END
FROM debian:$suite-slim
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
  $(echo "$packages" | tr , ' ') && rm -rf /var/lib/apt/lists/*
END
}

docker image inspect "$tag" >/dev/null 2>&1 || made_here || pulled || {
  echo "no base image: run this as root where mmdebstrap is installed, or reach a registry" >&2
  exit 1
}
echo "$tag"
