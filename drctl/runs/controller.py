"""The controller: this machine's end of every command."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from drctl.errors import Refused
from drctl.inventory import Inventory
from drctl.journal.store import Store, operator
from drctl.plan.model import Plan
from drctl.plan.secrets import Secrets
from drctl.ssh import SshTransport
from drctl.transport import Transport

Ask = Callable[[str, str], str | None]
"""Show a text and ask for the words that mean yes; how it was answered, or None for no."""


AT_ONCE = 64
"""Hosts: as many as bare paramiko has threads in `make bench`; more were not measured."""
SPARE_FILES = 200
"""Descriptors for everything but the connections."""


def over_ssh(inventory: Inventory) -> Transport:
    """One connection per host, which stays. Raises Refused where the limit on open files does not
    let there be so many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = len(inventory.hosts) + SPARE_FILES
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise Refused(
            f"{len(inventory.hosts)} hosts need {wanted} open files; this process may have {hard}",
            hint="raise the limit (ulimit -Hn, limits.conf) and run the command again",
        )
    if soft != resource.RLIM_INFINITY and wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return SshTransport(inventory.hosts, known_hosts=inventory.known_hosts)


@dataclass(frozen=True)
class Controller:
    """What is the same for all commands of one invocation: where its runs are kept, whom it asks,
    how it reaches hosts. `sleep` and `clock` are in seconds; `stop` asks for an end at the next
    safe point."""

    state_dir: Path
    ask: Ask
    confirm: Callable[[str], bool]  # a question that yes or no answers
    quiet: bool = False
    secrets: Secrets = field(default_factory=Secrets)
    connect: Callable[[Inventory], Transport] = over_ssh
    parallel: int | None = None  # hosts that are worked on at once; None: see `at_once`
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def store(self) -> Store:
        return Store(self.state_dir)

    def at_once(self, cluster: Inventory | Plan) -> int:
        """How many of this cluster's hosts are worked on at the same time."""
        return self.parallel or cluster.parallel or AT_ONCE

    @property
    def who(self) -> str:
        """user@machine, as journals and nodes keep it."""
        return operator()

    @contextmanager
    def alone(self, inventory: Inventory) -> Iterator[Transport]:
        """The way to the cluster's hosts, while no other command of this machine works on it.
        Raises LockHeld."""
        with (
            self.store.lock(inventory.cluster, self.who),
            closing(self.connect(inventory)) as transport,
        ):
            yield transport
