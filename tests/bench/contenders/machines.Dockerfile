# What contenders need on the lab's machines and the lab has not (Ansible: Python; zstd), from the
# machines' own distribution, unpacked in /extras.
ARG BASE
FROM ${BASE}
RUN set -eu; apt-get -q update; mkdir -p /debs/partial /extras; \
    apt-get -qy install --no-install-recommends --download-only -o Dir::Cache::archives=/debs zstd python3; \
    for package in /debs/*.deb; do dpkg-deb -x "$package" /extras; done; \
    rm -rf /debs /extras/usr/share/doc /extras/usr/share/man /var/lib/apt/lists/*
