"""Many hosts on loopback, and ten reads on each, by drctl and by other means.

Every host has an address 127.A.B.N of its own, served by OpenSSH: one server listens on sixteen of
them (its limit). Servers and contender share this machine's cores, so the figures are an upper
bound of what the contender itself costs, and ratios are nearer to each other than on real hosts.
"""

from __future__ import annotations

import getpass
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from drctl.lab import certs
from drctl.lab.local import addresses
from drctl.shipped import data_folder
from tests.bench.running import DRCTL, ROOT, Ended, Wrong, run

HERE = Path(__file__).parent / "contenders"
STEPS = 10
PORT = 2222
LIMIT = 900.0
_FILES = 8192
_NAMED = ("etcd", "control_plane")
_LISTENING = 16  # addresses that one sshd takes
_MOST = 250  # hosts of one network 127.A.B
_READ = "node/machine"  # the shipped template that every contender runs
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
_CONFIG = """\
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PermitUserRC no
UseDNS no
PrintMotd no
MaxStartups 1000
MaxSessions 100
SetEnv HOME={folder}/home
Port {port}
"""


@dataclass
class ManyHosts:
    """`count` hosts that answer. `programs` is the folder of pyinfra."""

    count: int
    folder: Path
    programs: Path
    listening: dict[str, str]  # host -> address
    _turn: int = field(default=0, init=False)

    @property
    def contenders(self) -> dict[str, Callable[[], Ended]]:
        """By name, as the document has them."""
        return {"drctl run": self._drctl, "bare paramiko": self._paramiko, "pyinfra": self._pyinfra}

    def read(self, name: str) -> Ended:
        """Ten reads on every host by the contender of that name; Wrong where one is missing."""
        self._turn += 1
        return self.contenders[name]()

    def _log(self, name: str) -> Path:
        return self.folder / f"{self._turn:03d}-{name}.log"

    def _drctl(self) -> Ended:
        of = ("--inventory", self.folder / "inventory.yaml", "--state-dir", self.folder / "state")
        argv = [DRCTL, "run", self.folder / "reads.yaml", *of, "--yes"]
        ended = run(argv, self._log("drctl"), limit=LIMIT)
        shown = run([DRCTL, "runs", "show", *of, "--output", "json"], self._log("runs-show"))
        states = [step["state"] for step in json.loads(shown.out)["steps"]]
        self._all_of(states.count("done"))
        return ended

    def _paramiko(self) -> Ended:
        argv = [sys.executable, "-m", "tests.bench.contenders.many_hosts", self.folder / "hosts"]
        given = [self.folder / "key", self.folder / "known_hosts", script()]
        ended = run([*argv, *given], self._log("paramiko"), cwd=ROOT, limit=LIMIT)
        self._all_of(int(ended.out))
        return ended

    def _pyinfra(self) -> Ended:
        argv = [
            self.programs / "pyinfra",
            "-y",
            self.folder / "pyinfra_hosts.py",
            HERE / "deploy.py",
        ]
        given = ["--data", f"script={script()}"]
        log = self._log("pyinfra")
        ended = run([*argv, *given], log, cwd=self.folder, limit=LIMIT)
        said = log.read_text(errors="replace") + ended.out
        self._all_of(said.count("] Success"))
        return ended

    def _all_of(self, good: int) -> None:
        if good != self.count * STEPS:
            raise Wrong(f"{good} of {self.count * STEPS} reads")


def script() -> str:
    """What is read: the very text that drctl sends, without its comment."""
    text = (data_folder("templates") / f"{_READ}.sh.j2").read_text(encoding="utf-8")
    return text.partition("#}")[2].strip()


@contextmanager
def many(count: int, folder: Path, programs: Path) -> Iterator[ManyHosts]:
    """So many hosts, for as long as the context lasts."""
    (folder / "home").mkdir(parents=True)  # empty: nobody's .bashrc is timed
    names = [f"h{number:03d}" for number in range(1, count + 1)]
    listening: dict[str, str] = {}
    for start in range(0, count, _MOST):
        listening |= addresses.pick(names[start : start + _MOST], [PORT])
    _write(folder, listening)
    _more_files()
    with _privilege_separation(), _serving(folder, list(listening.values())):
        yield ManyHosts(count, folder, programs, listening)


def _write(folder: Path, listening: dict[str, str]) -> None:
    user, host_key = getpass.getuser(), certs.new_ssh_key(folder / "host_key")
    public = certs.new_ssh_key(folder / "key")
    (folder / "authorized_keys").write_text(public + "\n")
    known = "".join(f"[{address}]:{PORT} {host_key}\n" for address in listening.values())
    (folder / "known_hosts").write_text(known)
    lines = [f"{name} {address} {PORT} {user}\n" for name, address in listening.items()]
    (folder / "hosts").write_text("".join(lines))
    steps = [{"id": f"read-{n}", "hosts": ["many"], "gather": _READ} for n in range(1, STEPS + 1)]
    book = {"runbook": "reads", "source": "bench", "phases": [{"title": "read", "steps": steps}]}
    (folder / "reads.yaml").write_text(json.dumps(book))
    inventory = {
        "cluster": "bench",
        "defaults": {"user": user, "key": str(folder / "key"), "become": "none"},
        "known_hosts": str(folder / "known_hosts"),
        "hosts": {name: {"address": one, "port": PORT} for name, one in listening.items()},
        # An inventory has to name members; nothing of them is asked.
        "layout": "kubeasz",
        "groups": {"many": list(listening)} | dict.fromkeys(_NAMED, [*listening][:3]),
    }
    (folder / "inventory.yaml").write_text(json.dumps(inventory))
    data = {
        "ssh_user": user,
        "ssh_port": PORT,
        "ssh_key": str(folder / "key"),
        "ssh_known_hosts_file": str(folder / "known_hosts"),
        "ssh_strict_host_key_checking": "yes",
        "ssh_config_file": "/dev/null",
    }
    hosts = [(name, data | {"ssh_hostname": address}) for name, address in listening.items()]
    (folder / "pyinfra_hosts.py").write_text(f"many = {hosts!r}\n")


@contextmanager
def _serving(folder: Path, listening: Sequence[str]) -> Iterator[None]:
    program = shutil.which("sshd") or shutil.which("sshd", path=_SBIN)
    if program is None:
        raise Wrong("no sshd here: install your system's openssh-server")
    servers: list[subprocess.Popen[bytes]] = []
    with (folder / "sshd.log").open("wb") as log:
        try:
            for start in range(0, len(listening), _LISTENING):
                config = folder / f"sshd_config.{start}"
                some = listening[start : start + _LISTENING]
                lines = [f"ListenAddress {address}\n" for address in some]
                config.write_text(_CONFIG.format(folder=folder, port=PORT) + "".join(lines))
                argv = [program, "-D", "-e", "-f", str(config)]
                servers.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=log))
            _await(listening, folder / "sshd.log")
            yield
        finally:
            for server in servers:
                server.terminate()
            for server in servers:
                server.wait(timeout=30)


def _await(listening: Sequence[str], log: Path) -> None:
    end = time.monotonic() + 60
    while any(addresses.bindable(address, PORT) for address in listening):
        if time.monotonic() > end:
            raise Wrong(f"sshd does not listen:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.1)


@contextmanager
def _privilege_separation() -> Iterator[None]:
    """sshd started by root wants this directory, which its service would have made."""
    place = Path("/run/sshd")
    if os.getuid() != 0 or place.exists():
        yield
        return
    place.mkdir(mode=0o755)
    try:
        yield
    finally:
        place.rmdir()


def _more_files() -> None:
    """Every contender may open enough files for a connection to each host."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, enough), hard))
