"""Record what an etcd's own programs print: `python -m tests.etcd.record FOLDER`.

FOLDER has etcd and etcdctl, and etcdutl where that version has one. Three members and one with
authentication are started on loopback, asked in each situation, and ended; the answers replace
those of that version in `fixtures/recorded.json`; the snapshot of the last one becomes
`fixtures/auth-VERSION.db.gz`. Takes a minute, and needs 127.0.64.0/24.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from drctl.etcd.answers import parse_members, parse_version
from tests.etcd.samples import FIXTURES

CLEAN = {"PATH": os.environ["PATH"], "HOME": "/", "LC_ALL": "C", "ETCDCTL_API": "3"}
LINES = 3  # of stderr that are kept: the last ones say how it ended
ASKED = {
    "endpoint status": ("endpoint", "status", "-w", "json"),
    "member list": ("member", "list", "-w", "json"),
    "member list --consistency=s": ("member", "list", "--consistency=s", "-w", "json"),
    "endpoint hashkv": ("endpoint", "hashkv", "-w", "json"),
    "endpoint hashkv --rev 1": ("endpoint", "hashkv", "--rev", "1", "-w", "json"),
    "alarm list": ("alarm", "list", "-w", "json"),
}


def client(n: int) -> str:
    return f"http://127.0.64.{n}:26379"


def peer(n: int) -> str:
    return f"http://127.0.64.{n}:26380"


class Recorder:
    """One version's programs, its members and what they were heard to say."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs, self.folder = programs, folder
        self.said: dict[str, dict[str, dict[str, Any]]] = {}
        self.running: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, n: int, cluster: str, *more: str) -> None:
        log = (self.folder / f"m{n}.log").open("ab")
        self.running[n] = subprocess.Popen(
            [
                self.programs / "etcd", f"--name=m{n}", f"--data-dir={self.folder}/m{n}",
                f"--listen-client-urls={client(n)}", f"--advertise-client-urls={client(n)}",
                f"--listen-peer-urls={peer(n)}", f"--initial-advertise-peer-urls={peer(n)}",
                f"--initial-cluster={cluster}", *more,
            ],
            env=CLEAN, stdout=log, stderr=log,
        )  # fmt: skip

    def kill(self, *members: int) -> None:
        for n in members:
            self.running[n].kill()
            self.running.pop(n).wait()

    def run(self, program: str, *words: str, lines: int = LINES) -> dict[str, Any]:
        ran = subprocess.run(
            [self.programs / program, *words], env=CLEAN, cwd=self.folder,
            capture_output=True, text=True,
        )  # fmt: skip
        err = "\n".join(ran.stderr.splitlines()[-lines:])
        return {"out": ran.stdout, "err": err, "exit": ran.returncode}

    def ctl(self, n: int, *words: str) -> dict[str, Any]:
        limits = ("--dial-timeout=2s", "--command-timeout=4s")
        return self.run("etcdctl", f"--endpoints={client(n)}", *limits, *words)

    def ask(self, situation: str, n: int, *first: str) -> None:
        found = self.said.setdefault(situation, {})
        for name, words in ASKED.items():
            answer = self.ctl(n, *first, *words)
            unknown = "unknown flag" in answer["err"]
            found[f"etcdctl {name}"] = {**answer, "out": "" if unknown else answer["out"]}

    def patiently(self, n: int, *words: str) -> dict[str, Any]:
        """Until it succeeds: a cluster is healthy for others some seconds after it is."""
        for _ in range(60):
            if (answer := self.ctl(n, *words))["exit"] == 0:
                return answer
            time.sleep(0.5)
        raise SystemExit(f"{words}: {answer}")

    def record(self) -> None:
        version = ("version",)
        asked = {"etcd": ("--version",), "etcdctl": version, "etcdutl": version}
        there = {p: words for p, words in asked.items() if (self.programs / p).exists()}
        self.said["programs"] = {f"{p} {w[0]}": self.run(p, *w) for p, w in there.items()}
        try:
            self.three_members()
            self.authentication()
        finally:
            self.kill(*list(self.running))
        self.restore("etcdutl" if "etcdutl" in there else "etcdctl")

    def three_members(self) -> None:
        cluster = ",".join(f"m{n}={peer(n)}" for n in (1, 2, 3))
        for n in (1, 2, 3):
            self.start(n, cluster)
        self.patiently(1, "put", "a", "1")
        self.patiently(1, "put", "/registry/pods/x/y", "2")
        for n in (1, 2, 3):
            self.patiently(n, "endpoint", "health")
        self.ask("three members, all well", 1)
        self.ctl(1, "snapshot", "save", "snap.db")
        self.patiently(1, "member", "add", "m4", "--learner", f"--peer-urls={peer(4)}")
        self.ask("a learner that was never started", 1)
        self.start(4, f"{cluster},m4={peer(4)}", "--initial-cluster-state=existing")
        self.patiently(4, "endpoint", "status")
        self.ask("a learner that runs", 4)
        learner = next(
            m
            for m in parse_members(self.ctl(1, *ASKED["member list"])["out"]).members
            if m.is_learner
        )
        self.patiently(1, "member", "remove", f"{learner.id:x}")
        self.kill(4)
        self.patiently(1, "member", "add", "m5", f"--peer-urls={peer(5)}")
        self.ask("a member that was never started", 1)
        listed = parse_members(self.ctl(1, *ASKED["member list"])["out"]).members
        unnamed = next(m for m in listed if not m.name)
        self.patiently(1, "member", "remove", f"{unnamed.id:x}")
        self.kill(3)
        self.ask("one member dead", 3)
        self.kill(2)
        time.sleep(3)
        self.ask("two of three dead: no quorum", 1)
        self.kill(1)

    def authentication(self) -> None:
        self.start(6, f"m6={peer(6)}")
        self.patiently(6, "put", "a", "1")
        for words in (
            ("user", "add", "root:secret"), ("user", "grant-role", "root", "root"),
            ("role", "add", "reading"), ("role", "grant-permission", "reading", "read", "a"),
            ("user", "add", "reader:secret"), ("user", "grant-role", "reader", "reading"),
            ("auth", "enable"),
        ):  # fmt: skip
            self.patiently(6, *words)
        self.ask("auth on, asked without a user", 6)
        self.ask("auth on, asked by a user whose role lacks root", 6, "--user=reader:secret")
        self.ask("auth on, asked by root", 6, "--user=root:secret")
        self.ask("auth on, asked with a wrong password", 6, "--user=root:wrong")
        for who, first in (("no user", ()), ("reader", ("--user=reader:secret",))):
            saved = self.ctl(6, *first, "snapshot", "save", "x.db")
            self.said.setdefault("auth on, a snapshot", {})[f"etcdctl save by {who}"] = saved
        self.ctl(6, "--user=root:secret", "snapshot", "save", "auth.db")

    def restore(self, tool: str) -> None:
        said = self.said["restore"] = {}
        words = (
            "snapshot", "restore", "snap.db", "--data-dir=r", "--name=m1",
            f"--initial-cluster=m1={peer(1)}", "--initial-cluster-token=t-1",
            f"--initial-advertise-peer-urls={peer(1)}",
        )  # fmt: skip
        said[f"{tool} snapshot status"] = self.run(tool, "snapshot", "status", "snap.db", "-w=json")
        said[f"{tool} snapshot restore"] = self.run(tool, *words, lines=100)
        said[f"{tool} snapshot restore, again"] = self.run(tool, *words)


def main(programs: Path) -> None:
    file = FIXTURES / "recorded.json"
    everything = json.loads(file.read_text("utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(programs, Path(folder))
        recorder.record()
        authenticated = (Path(folder) / "auth.db").read_bytes()
    version = parse_version(recorder.said["programs"]["etcd --version"]["out"])
    (FIXTURES / f"auth-{version}.db.gz").write_bytes(gzip.compress(authenticated, mtime=0))
    everything[version] = recorder.said
    text = json.dumps(dict(sorted(everything.items())), indent=1)
    file.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
