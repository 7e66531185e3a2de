"""The ten reads by bare paramiko: a pool of threads, one connection per host, a barrier between two
steps, as drctl has one. No journal, no limits, nothing looked at but the exit status.

    python -m tests.bench.contenders.many_hosts HOSTS KEY KNOWN_HOSTS SCRIPT

HOSTS has one line per host: NAME ADDRESS PORT USER. Prints how many reads succeeded.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import paramiko

STEPS = 10
THREADS = 64


def main(hosts: Path, key: Path, known_hosts: Path, script: str) -> int:
    """Read STEPS times on every host; returns how many reads succeeded."""
    trusted = paramiko.HostKeys(str(known_hosts))
    own = paramiko.Ed25519Key.from_private_key_file(str(key))

    def connect(line: str) -> paramiko.SSHClient:
        _, address, port, user = line.split()
        client = paramiko.SSHClient()
        client.get_host_keys().update(trusted)
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        client.connect(
            address, int(port), user, pkey=own, allow_agent=False, look_for_keys=False, timeout=60
        )
        return client

    def read(client: paramiko.SSHClient) -> bool:
        _, out, _ = client.exec_command(script, timeout=60)
        out.read()
        return out.channel.recv_exit_status() == 0

    lines = hosts.read_text().splitlines()
    with ThreadPoolExecutor(min(THREADS, len(lines))) as pool:
        clients = list(pool.map(connect, lines))
        good = sum(sum(pool.map(read, clients)) for _ in range(STEPS))
        list(pool.map(paramiko.SSHClient.close, clients))
    return good


if __name__ == "__main__":
    given = sys.argv[1:]
    print(main(Path(given[0]), Path(given[1]), Path(given[2]), given[3]))
