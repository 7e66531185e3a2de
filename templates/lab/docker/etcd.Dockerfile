# etcd from a newer Debian, unpacked in /etcd: the base's own apt sources with the suite's name
# changed, so that nothing else is asked than what the base was made from.
ARG BASE
FROM ${BASE}
ARG SUITE
RUN set -eu; \
    codename=$(. /etc/os-release; echo "$VERSION_CODENAME"); \
    mkdir -p /old /etcd /unpacked; \
    for source in /etc/apt/sources.list /etc/apt/sources.list.d/*; do \
      if [ -f "$source" ]; then sed -i "s/\b$codename/$SUITE/g" "$source"; fi; \
    done; \
    apt-get -q update; cd /old; apt-get -q download etcd-server etcd-client; \
    for package in *.deb; do dpkg-deb -x "$package" /unpacked; done; \
    cp /unpacked/usr/bin/etcd /unpacked/usr/bin/etcdctl /unpacked/usr/bin/etcdutl /etcd/; \
    chmod 755 /etcd/*; rm -rf /old /unpacked /var/lib/apt/lists/*
