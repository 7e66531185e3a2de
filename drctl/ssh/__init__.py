"""SSH: how drctl reaches its hosts. The only package that knows fabric and paramiko.

`SshTransport` implements `drctl.transport.Transport`; `scan_host_keys` and `record_host_keys` are
the trust step, made before the disaster.
"""

from __future__ import annotations

import logging

from drctl.ssh.known_hosts import KnownHosts, fingerprint
from drctl.ssh.names import home
from drctl.ssh.sshtransport import SshTransport
from drctl.ssh.trust import ScannedKey, record_host_keys, scan_host_keys

__all__ = [
    "KnownHosts",
    "ScannedKey",
    "SshTransport",
    "fingerprint",
    "home",
    "record_host_keys",
    "scan_host_keys",
]

# Without a handler, Python prints paramiko's log of every broken connection, tracebacks and all,
# on stderr. Every such event reaches the caller as an exception anyway.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
