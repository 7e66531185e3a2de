"""A simulated cluster behind the transport's seam: what every shipped template does to a node, as
a few lines of state. It simulates nodes, never the controller: engine, jobs, journal, judges and
runbooks are the real ones. A script that nobody simulates raises (`FakeTransport`)."""

from __future__ import annotations

import copy
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drctl.etcd.identity import predict
from drctl.inventory import Inventory, Member
from drctl.nodes.history import LINES, line_hash, read_history
from drctl.transport import CommandResult, Script
from tests.model.installation import NAMES
from tests.support.fake_transport import FakeTransport
from tests.support.readings import as_claimed

Env = Mapping[str, str]
OLD_TOKEN = "the-old-cluster"
NOT_OWNER = 75


@dataclass
class Node:
    """One simulated host. `live` is the data at the live path: a token, or None for no data."""

    services: dict[str, bool]
    machine_id: str
    live: str | None = OLD_TOKEN
    fenced: set[str] = field(default_factory=set)
    part: bool = False
    file: bool = False
    new: str | None = None  # the token of the rebuilt data
    kept: str | None = None  # what lies in `old`
    restored: str | None = None  # what a rollback kept of the restored data
    alarm: bool = False  # NOSPACE, which the snapshot holds
    moved_out: bool = False
    moved_in: bool = False
    installed: bool = True  # etcd, its certificates and its unit
    sent: set[str] = field(default_factory=set)  # files on their way to be installed
    blank: bool = False  # this run began a blank member here
    aside: str | None = None  # a blank member's data after it was taken back
    pids: Counter[str] = field(default_factory=Counter)
    sample: bool = False  # a file that was sent to try the way
    tried: bool = False  # to the end
    fails: str = ""  # what a try finds out
    owner: dict[str, str] = field(default_factory=dict)
    claims: dict[str, dict[str, str]] = field(default_factory=dict)  # the last one of each run
    history: list[str] = field(default_factory=list)  # what runs did here, a line each
    jobs: dict[str, int] = field(default_factory=dict)
    started: dict[str, list[str]] = field(default_factory=dict)  # the record of each job's start
    papers: dict[str, str] = field(default_factory=dict)  # the manifests and records of runs
    effects: Counter[str] = field(default_factory=Counter)  # destructive acts that did something

    def condition(self) -> dict[str, Any]:
        """What two runs with "the same end state" share."""
        return {
            "services": dict(self.services),
            "fenced": sorted(self.fenced),
            "new_data": self.live is not None and self.live != OLD_TOKEN,
            "kept": self.kept,
            "staging": (self.part, self.file, self.new is not None, sorted(self.sent)),
            "installed": self.installed,
            "blank": self.blank,
            "tried": (self.sample, self.tried),
            "owner": dict(self.owner),
        }


class SimulatedCluster(FakeTransport):
    """Nodes by name, and the handler of each template."""

    def __init__(self, inventory: Inventory, sha256: str) -> None:
        super().__init__()
        self.become(inventory)
        self.sha256 = sha256
        self.given_up: set[str] = set()  # hosts that restored data does not know as members
        self.written = 0  # revisions that clients added to the restored data
        self.trace_age = 100  # seconds since a controller left the last trace on a node
        self.on_upload = self._upload
        self.handlers = {
            "node/machine": lambda h, _s, _e: f"machine_id={self.nodes[h].machine_id}",
            "node/owner": self._owner,
            "prepare/facts": self._is_there,
            "node/records": self._records,
            "node/runs": self._runs,
            "etcd/facts": self._facts,
            "try/report": self._tried,
            "etcd/kept": self._kept,
            "etcd/live": self._live,
            "etcd/living": self._live,
            "etcd/written": self._written,
            "etcd/state": self._state,
            "etcd/state/at": self._state,
            "backup/look": lambda *asked: self._owner(*asked) + self._state(*asked),
            "etcd/restored": self._restored,
            "etcd/probe": lambda h, _s, _e: f"probe={'ok' if self._serves(h) else 'no answer'}",
            "kube/health": self._health,
            "kube/ready": self._ready,
            "kube/settings": self._settings,
            "node/reading": lambda h, _s, _e: as_claimed(
                self.inventory, h, runs=self.nodes[h].services.get("etcd", False)
            ),
            "kube/secrets": lambda _h, _s, _e: "secrets_status=not asked\n",
            "backup/sweep": lambda _h, _s, _e: "",
            "job/claim": self._claim,
            "job/start": self._start,
            "job/wait": self._wait,
            "job/release": self._release,
            "job/owned": self._owned,
        }
        self.acts: dict[str, Callable[[Node, Script, Env], None]] = {}
        for action, observe, act in (
            ("service/fenced", self._is_fenced, self._fence),
            ("service/fenced/undo", self._is_as_before, self._as_before),
            ("service/running", self._is_running, self._start_units),
            ("service/running/undo", self._is_fenced, self._fence),
            ("service/restarted", self._is_restarted, self._restart),
            ("service/blank", self._is_blank, self._start_blank),
            ("service/blank/undo", self._is_stopped, self._stop_blank),
            ("etcd/blank", self._is_begun, self._begin_blank),
            ("etcd/blank/undo", self._is_no_blank, self._end_blank),
            ("prepare/install", self._is_installed, self._install),
            ("prepare/install/undo", self._is_taken_away, self._take_away),
            ("try", self._is_tried, self._try),
            ("try/undo", self._is_untried, self._untry),
            ("stage/snapshot", self._is_staged, self._accept),
            ("stage/snapshot/undo", self._is_clean, self._clean),
            ("stage/clean", self._is_clean, self._clean),
            ("etcd/restore", self._is_rebuilt, self._rebuild),
            ("etcd/swap", self._is_swapped, self._swap),
            ("etcd/discard", self._is_discarded, self._discard),
            ("etcd/swap/undo", self._is_swapped_back, self._swap_back),
            ("etcd/disarm", self._is_disarmed, self._disarm),
        ):
            self.handlers[f"{action}/observe"] = self._observer(observe)
            self.acts[f"{action}/act"] = act

    def become(self, inventory: Inventory) -> None:
        """The healthy hosts of `inventory`."""
        self.inventory = inventory
        self.nodes = {
            name: Node(
                services={
                    unit: True
                    for service in inventory.services.values()
                    if name in service.hosts
                    for unit in service.units
                },
                machine_id=f"machine-of-{name}",
            )
            for name in inventory.hosts
        }

    def empty(self) -> None:
        """Every member's host as it comes from the factory."""
        for member in self.inventory.members:
            node = self.nodes[member.host]
            node.live, node.installed, node.services["etcd"] = None, False, False

    def snapshot(self) -> dict[str, Node]:
        return copy.deepcopy(self.nodes)

    # -- answers ----------------------------------------------------------------------------

    def _observer(self, look: Callable[[Node, Script, Env], str]) -> Any:
        return lambda host, script, env: look(self.nodes[host], script, env)

    def _owner(self, host: str, _script: Script, _env: Env) -> str:
        owner = self.nodes[host].owner
        held = "".join(f"owner_{k}={owner.get(k, '')}\n" for k in ("run", "who", "since"))
        return f"{held}last_line={read_history(self.nodes[host].history).last}\n"

    def _facts(self, host: str, _script: Script, _env: Env) -> str:
        node = self.nodes[host]
        facts = {
            "machine_id": node.machine_id,
            "boot_id": "boot",
            "now": str(int(time.time())),
            "tools_missing": "",
            "etcd_version": "3.5.16" if node.installed else "",
            "etcdctl_version": "3.5.16" if node.installed else "",
            "etcdutl_version": "3.5.16" if node.installed else "",
            "restore_flags": "bump-revision mark-compacted" if node.installed else "",
            "data_kind": "directory" if node.live else "absent",
            "data_owner": "0:0",
            "data_mode": "700",
            "stage": "/var/lib/etcd.drctl",
            "data_free": str(10**12),
            "wal_kind": "none",
            "wal_stage": "",
            "wal_free": "0",
            "same_fs": "none",
            "certs_missing": "" if node.installed else self._paths(host),
            "cert_not_after": "",
            "units_missing": "" if node.installed else "etcd",
            "manager": "ok",
        }
        return "".join(f"{name}={value}\n" for name, value in facts.items())

    def _paths(self, host: str) -> str:
        member = self.inventory.member(host)
        return f"{member.ca} {member.cert} {member.key}"

    def _is_there(self, host: str, _script: Script, _env: Env) -> str:
        node = self.nodes[host]
        state = "same" if node.installed else "absent"
        names = (*NAMES, "unit")
        facts = {f"there.{name}": f"{state} /path/of/{name}" for name in names}
        facts |= {"arch": "x86_64", "unit_elsewhere": "", "drop_ins": "", "owner_missing": ""}
        facts |= {"owner_wrong": "", "holds": "/var/lib/etcd/member" if node.live else ""}
        facts["ports_taken"] = "2379 2380" if node.services["etcd"] else ""
        return "".join(f"{name}={value}\n" for name, value in facts.items())

    def _peers(self, token: str) -> list[Member]:
        """Who is a member by the data of that token."""
        gone = set() if token == OLD_TOKEN else self.given_up
        return [member for member in self.inventory.members if member.host not in gone]

    def _serves(self, host: str) -> bool:
        """Whether this member answers: it runs, and a majority runs on the same data."""
        node = self.nodes[host]
        peers = [self.nodes[m.host] for m in self._peers(str(node.live))]
        same = [p for p in peers if p.services["etcd"] and p.live == node.live]
        return node.services["etcd"] and node.live is not None and 2 * len(same) > len(peers)

    def _status(self, host: str) -> list[dict[str, Any]]:
        member = self.inventory.member(host)
        token = str(self.nodes[host].live)
        ids = predict({m.name: m.peer_urls for m in self._peers(token)}, token)
        leader = ids.member_ids[self.inventory.members[0].name]
        status = {
            "header": {
                "cluster_id": ids.cluster_id,
                "member_id": ids.member_ids[member.name],
                "revision": _revision(token) + (0 if token == OLD_TOKEN else self.written),
                "raft_term": 2,
            },
            "version": "3.5.16",
            "dbSize": 20480,
            "leader": leader,
            "raftIndex": 10,
            "raftTerm": 2,
        }
        return [{"Endpoint": member.client_urls[0], "Status": status}]

    def _members(self, host: str) -> dict[str, Any]:
        token = str(self.nodes[host].live)
        ids = predict({m.name: m.peer_urls for m in self._peers(token)}, token)
        members = [
            {
                "ID": ids.member_ids[m.name],
                "name": m.name,
                "peerURLs": list(m.peer_urls),
                "clientURLs": list(m.client_urls),
            }
            for m in self._peers(token)
        ]
        return {"header": {"cluster_id": ids.cluster_id}, "members": members}

    def _live(self, host: str, _script: Script, _env: Env) -> str:
        if not self._serves(host):
            return "status_json=\n"
        status, members = json.dumps(self._status(host)), json.dumps(self._members(host))
        return f"status_json={status}\nmembers_json={members}\n"

    def _written(self, host: str, script: Script, env: Env) -> str:
        live = self._live(host, script, env)
        if not self._serves(host) or "keys_before" not in script.body:
            return live
        counts = f"pods:{self.written}:0 leases:0:3" if self.written else ""
        return f"{live}listed=yes\nwritten={counts}\nkeys_left=40\nkeys_before=42\n"

    def _state(self, host: str, script: Script, env: Env) -> str:
        live = self._live(host, script, env)
        if not self._serves(host):
            return live
        status = self._status(host)[0]
        hashes = [
            {
                "Endpoint": status["Endpoint"],
                "HashKV": {
                    "header": status["Status"]["header"],
                    "hash": 4711,
                    "compact_revision": 99,
                },
            }
        ]
        return live + f"hashkv_json={json.dumps(hashes)}\nalarms_json={{}}\n"

    def _restored(self, host: str, _script: Script, _env: Env) -> str:
        node = self.nodes[host]
        token = str(node.new or node.live)
        names = {m.name: m.peer_urls for m in self._peers(token)}
        return f"restored_cluster_id={predict(names, token).cluster_hex}\n"

    def _health(self, host: str, _script: Script, _env: Env) -> str:
        node = self.nodes[host]
        asked = [
            s for s in self.inventory.services.values() if host in s.hosts and s.ready.get(host)
        ]
        return f"asked={' '.join(s.name for s in asked)}\n" + "".join(
            f"ready.{s.name}={'ok' if all(node.services[u] for u in s.units) else 'down'}\n"
            for s in asked
        )

    def _ready(self, host: str, script: Script, env: Env) -> str:
        if env["DRCTL_QUORUM"] != "True":
            return "asked=\n"
        health = self._health(host, script, env)
        return (
            health.replace("ready.", "runs.").replace("=ok", "=yes").replace("=down", "=no")
            + health.partition("\n")[2]
        )

    def _settings(self, host: str, _script: Script, _env: Env) -> str:
        urls = ",".join(url for member in self.inventory.members for url in member.client_urls)
        keys = "etcd_ca=ca\nencryption=none\naccount_keys=key\n"
        return f"member_ca=ca\netcd_servers={urls}\n{keys}"

    # -- jobs -------------------------------------------------------------------------------

    def _held(self, node: Node) -> CommandResult:
        return CommandResult(NOT_OWNER, "".join(f"{k}={v}\n" for k, v in node.owner.items()))

    def _claim(self, host: str, _script: Script, env: Env) -> CommandResult:
        node = self.nodes[host]
        if env["DRCTL_MACHINE"] not in ("", node.machine_id):
            return CommandResult(NOT_OWNER, f"machine={node.machine_id}\n")
        other = node.owner.get("run", env["DRCTL_RUN"]) != env["DRCTL_RUN"]
        if other or int(node.owner.get("epoch", "0")) > int(env["DRCTL_EPOCH"]):
            return self._held(node)
        last = node.claims.get(env["DRCTL_RUN"], {})
        if int(last.get("epoch", "0")) > int(env["DRCTL_EPOCH"]):
            return CommandResult(NOT_OWNER, "".join(f"{k}={v}\n" for k, v in last.items()))
        same = node.owner.get("epoch") == env["DRCTL_EPOCH"]
        if same and node.owner.get("journal") != env["DRCTL_JOURNAL"]:
            return self._held(node)
        entries = read_history(node.history).entries
        ours = [e.seq for e in entries if e.run == env["DRCTL_RUN"]]
        seen = int(env["DRCTL_SEEN_LINE"] or max(ours, default=10**9))
        if later := [e for e in entries if e.run != env["DRCTL_RUN"] and e.seq > seen]:
            told = f"passed_by=yes\nrun={later[-1].run}\nwho={later[-1].who}\n"
            return CommandResult(NOT_OWNER, told)
        json.loads(env["DRCTL_MANIFEST"])
        node.papers[f"{env['DRCTL_RUN']}/manifest.json"] = env["DRCTL_MANIFEST"]
        node.owner = {
            "run": env["DRCTL_RUN"],
            "epoch": env["DRCTL_EPOCH"],
            "journal": env["DRCTL_JOURNAL"],
            "who": env["DRCTL_WHO"],
            "since": "2026-11-23T00:00:00Z",
        }
        node.claims[env["DRCTL_RUN"]] = dict(node.owner)
        remember(node, env["DRCTL_LINE"])
        return CommandResult(0, "")

    def _start(self, host: str, _script: Script, env: Env) -> CommandResult:
        node = self.nodes[host]
        job = f"{env['DRCTL_RUN']}/{env['DRCTL_JOB']}"
        if job in node.jobs:
            return CommandResult(0, f"done {node.jobs[job]}\n")
        if (node.owner.get("run"), node.owner.get("epoch")) != _session_of(env):
            return self._held(node)
        body = env["DRCTL_BODY"]
        note_start(node, env)
        known = _assignments(body) | _assignments(env["DRCTL_SECRETS"])
        self.acts[env["DRCTL_ACTION"]](node, Script(env["DRCTL_ACTION"], body), known)
        node.jobs[job] = 0
        return CommandResult(0, "done 0\n")

    def _wait(self, host: str, _script: Script, env: Env) -> CommandResult:
        status = self.nodes[host].jobs.get(f"{env['DRCTL_RUN']}/{env['DRCTL_JOB']}")
        return CommandResult(0, "never\n" if status is None else f"done {status}\n")

    def _release(self, host: str, _script: Script, env: Env) -> CommandResult:
        node = self.nodes[host]
        if env["DRCTL_MACHINE"] not in ("", node.machine_id):
            return CommandResult(1, "", "another machine answers here")
        newer = int(node.owner.get("epoch", "0")) > int(env["DRCTL_EPOCH"])
        if node.owner.get("run") == env["DRCTL_RUN"] and not newer:
            node.papers[f"{env['DRCTL_RUN']}/record.json"] = env["DRCTL_RECORD"]
            remember(node, env["DRCTL_LINE"])
            node.owner = {}
        return CommandResult(0, "")

    def _owned(self, host: str, _script: Script, env: Env) -> CommandResult:
        node = self.nodes[host]
        ours = (node.owner.get("run"), node.owner.get("epoch"))
        return CommandResult(0, "") if ours == _session_of(env) else self._held(node)

    def _records(self, host: str, _script: Script, env: Env) -> str:
        node, run = self.nodes[host], env["DRCTL_RUN"]
        lines = ["now:1790000000", f"last:{1790000000 - self.trace_age}"]
        lines += [f"owner:{name}={value}" for name, value in node.owner.items()]
        lines += [f"history:{line}" for line in node.history]
        lines += [f"{p}:{text}" for p, text in node.papers.items() if p.startswith(f"{run}/")]
        for name, record in node.started.items():
            of, job = name.split("/")
            if of == run:
                lines += [f"{run}/jobs/{job}/started:{line}" for line in record]
                if node.jobs.get(name, -1) >= 0:
                    lines += [f"{run}/jobs/{job}/status:{node.jobs[name]}"]
        return "\n".join(lines)

    def _runs(self, host: str, _script: Script, _env: Env) -> str:
        node = self.nodes[host]
        lines = [f"owner:{name}={value}" for name, value in node.owner.items()]
        runs = [p.split("/")[0] for p in node.papers if p.endswith("/manifest.json")]
        return "\n".join([*lines, *(f"run:{run}" for run in runs)])

    def _kept(self, host: str, _script: Script, env: Env) -> str:
        node = self.nodes[host]
        done = node.kept is None or (node.moved_in and node.moved_out)
        return (
            f"kept_data={env['DRCTL_STAGE']}/{env['DRCTL_RUN']}/old\n"
            f"bytes_data={4096 if node.kept else 0}\nswapped_data={'yes' if done else 'no'}\n"
        )

    # -- services ---------------------------------------------------------------------------

    def _is_fenced(self, node: Node, script: Script, _env: Env) -> str:
        units = _units(script)
        was = "".join(f"{u}:{'active' if node.services[u] else 'stopped'}," for u in units)
        done = all(u in node.fenced and not node.services[u] for u in units)
        return f"was={was}\nstate={'after' if done else 'before'}\n"

    def _fence(self, node: Node, script: Script, _env: Env) -> None:
        for unit in _units(script):
            node.fenced.add(unit)
            node.services[unit] = False

    def _is_as_before(self, node: Node, script: Script, env: Env) -> str:
        was = env["DRCTL_SEEN_WAS"]
        done = all(
            unit not in node.fenced and (f"{unit}:active," not in was or node.services[unit])
            for unit in _units(script)
        )
        return f"state={'after' if done else 'before'}\n"

    def _as_before(self, node: Node, script: Script, env: Env) -> None:
        for unit in _units(script):
            node.fenced.discard(unit)
            node.services[unit] |= f"{unit}:active," in env["DRCTL_SEEN_WAS"]

    def _is_running(self, node: Node, script: Script, _env: Env) -> str:
        done = all(node.services[u] and u not in node.fenced for u in _units(script))
        return f"state={'after' if done else 'before'}\n"

    def _start_units(self, node: Node, script: Script, _env: Env) -> None:
        for unit in _units(script):
            node.fenced.discard(unit)
            node.services[unit] = True

    def _is_restarted(self, node: Node, script: Script, env: Env) -> str:
        pids = "".join(f"{u}:{node.pids[u]}," for u in _units(script))
        seen = env["DRCTL_SEEN_PIDS"]
        done = seen and not any(f"{u}:{node.pids[u]}," in seen for u in _units(script))
        return f"pids={pids}\nstate={'after' if done else 'before'}\n"

    def _restart(self, node: Node, script: Script, _env: Env) -> None:
        for unit in _units(script):
            node.pids[unit] += 1
            node.services[unit] = True

    # -- new hosts --------------------------------------------------------------------------

    def _is_installed(self, node: Node, _script: Script, env: Env) -> str:
        if node.installed and not node.sent:
            return "state=after\n"
        folder = f"{env['DRCTL_WORK']}/{env['DRCTL_RUN']}/files"
        targets = [] if node.installed else [f"target_{n}={folder}/{n}\n" for n in NAMES]
        return "".join(targets) + "state=before\n"

    def _install(self, node: Node, _script: Script, _env: Env) -> None:
        assert node.installed or node.sent == {*NAMES}
        node.installed, node.sent = True, set()

    def _is_taken_away(self, node: Node, _script: Script, _env: Env) -> str:
        return f"state={'before' if node.installed or node.sent else 'after'}\n"

    def _take_away(self, node: Node, _script: Script, _env: Env) -> None:
        assert not node.services["etcd"], "etcd taken away while it runs"
        node.installed, node.sent = False, set()

    def _is_begun(self, node: Node, _script: Script, env: Env) -> str:
        if env["DRCTL_START_BLANK"] != "yes" or node.blank:
            return "state=after\n"
        return f"state={'unknown' if node.live else 'before'}\n"

    def _begin_blank(self, node: Node, _script: Script, _env: Env) -> None:
        node.blank = True

    def _is_no_blank(self, node: Node, _script: Script, _env: Env) -> str:
        return f"state={'before' if node.blank else 'after'}\n"

    def _end_blank(self, node: Node, _script: Script, _env: Env) -> None:
        assert not node.moved_in and not node.services["etcd"]
        node.aside, node.live, node.blank = node.live, None, False

    def _is_blank(self, node: Node, _script: Script, env: Env) -> str:
        if env["DRCTL_START_BLANK"] != "yes":
            return "state=after\n"
        if not node.blank:
            return "state=unknown\n"
        return f"state={'after' if node.live and node.services['etcd'] else 'before'}\n"

    def _start_blank(self, node: Node, _script: Script, env: Env) -> None:
        assert node.installed and node.blank and "etcd" not in node.fenced
        if node.live is None:
            node.effects["blank"] += 1
            node.live = env["DRCTL_BLANK_TOKEN"]
        node.services["etcd"] = True

    def _is_stopped(self, node: Node, _script: Script, _env: Env) -> str:
        return f"state={'before' if node.services['etcd'] else 'after'}\n"

    def _stop_blank(self, node: Node, _script: Script, _env: Env) -> None:
        node.services["etcd"] = False

    # -- files ------------------------------------------------------------------------------

    def _upload(self, host: str, source: Path, target: str) -> None:
        if target.endswith("/snapshot.db.part"):
            self.nodes[host].part = True
        elif target.endswith("/try/sample"):
            assert source.name == "sample"
            self.nodes[host].sample = True
        else:
            folder, _, name = target.rpartition("/")
            assert folder == f"/var/lib/drctl/{self.nodes[host].owner['run']}/files"
            assert source.is_file() and name in NAMES
            self.nodes[host].sent.add(name)

    def _is_tried(self, node: Node, _script: Script, env: Env) -> str:
        target = f"target={env.get('DRCTL_STAGE')}/{env['DRCTL_RUN']}/try/sample\n"
        return (
            f"{target if 'DRCTL_STAGE' in env else ''}state={'after' if node.tried else 'before'}\n"
        )

    def _try(self, node: Node, _script: Script, env: Env) -> None:
        assert node.sample == ("DRCTL_STAGE" in env), "sent to none but a member"
        node.tried = True

    def _tried(self, host: str, _script: Script, _env: Env) -> str:
        node = self.nodes[host]
        if not node.tried:
            return ""
        sent = "sent=ok\nfsync.data=3\n" if node.sample else ""
        return f"files.data={node.fails or 'ok'}\n{sent}tried=yes\n"

    def _is_untried(self, node: Node, _script: Script, _env: Env) -> str:
        return f"state={'before' if node.tried or node.sample else 'after'}\n"

    def _untry(self, node: Node, _script: Script, _env: Env) -> None:
        node.tried = node.sample = False

    def _is_staged(self, node: Node, script: Script, env: Env) -> str:
        target = f"{env['DRCTL_STAGE']}/{env['DRCTL_RUN']}/snapshot.db.part"
        return f"target={target}\nstate={'after' if node.file else 'before'}\n"

    def _accept(self, node: Node, script: Script, _env: Env) -> None:
        assert node.part and self.sha256 in script.body
        node.part, node.file = False, True

    def _is_clean(self, node: Node, _script: Script, _env: Env) -> str:
        left = node.part or node.file or node.new
        return f"state={'before' if left else 'after'}\n"

    def _clean(self, node: Node, _script: Script, _env: Env) -> None:
        node.part, node.file, node.new = False, False, None

    def _is_rebuilt(self, node: Node, _script: Script, env: Env) -> str:
        return f"state={'after' if node.new == env['DRCTL_TOKEN'] else 'before'}\n"

    def _rebuild(self, node: Node, _script: Script, env: Env) -> None:
        assert node.file
        node.new = env["DRCTL_TOKEN"]

    def _is_swapped(self, node: Node, _script: Script, _env: Env) -> str:
        inode = f"inode_data={node.live or 'absent'}\n"
        if node.moved_out and node.moved_in:
            return inode + "state=after\n"
        if node.new is None:
            return inode + "state=unknown\nwhy=nothing rebuilt\n"
        return inode + "state=before\n"

    def _swap(self, node: Node, _script: Script, _env: Env) -> None:
        assert not node.services["etcd"] and "etcd" in node.fenced, "swapped under a live etcd"
        assert node.kept is None
        node.effects["swap"] += 1
        node.kept, node.live, node.new = node.live, node.new, None
        node.moved_out = node.moved_in = node.alarm = True

    def _is_disarmed(self, node: Node, _script: Script, _env: Env) -> str:
        return f"state={'before' if node.alarm else 'after'}\n"

    def _disarm(self, node: Node, _script: Script, _env: Env) -> None:
        assert node.services["etcd"], "nobody to disarm an alarm of"
        node.alarm = False

    def _is_discarded(self, node: Node, _script: Script, _env: Env) -> str:
        return f"state={'before' if node.kept else 'after'}\n"

    def _discard(self, node: Node, _script: Script, _env: Env) -> None:
        assert node.moved_in and node.moved_out, "the only copy"
        node.effects["discard"] += 1
        node.kept, node.moved_in, node.moved_out = None, False, False

    def _is_swapped_back(self, node: Node, _script: Script, env: Env) -> str:
        if node.moved_out or node.moved_in or node.kept:
            return "state=before\n"
        as_before = env["DRCTL_SEEN_INODE_DATA"] in ("", str(node.live or "absent"))
        return f"state={'after' if as_before else 'unknown'}\n"

    def _swap_back(self, node: Node, _script: Script, env: Env) -> None:
        assert not node.services["etcd"] and "etcd" in node.fenced, "swapped under a live etcd"
        node.effects["swap back"] += 1
        if env["DRCTL_KEEP_RESTORED"] == "no":
            node.new = node.live
        else:
            node.restored = node.live
        node.live, node.kept = node.kept, None
        node.moved_out = node.moved_in = False


def _session_of(env: Env) -> tuple[str, str]:
    return env["DRCTL_RUN"], env["DRCTL_EPOCH"]


def _revision(token: str) -> int:
    if token.endswith("-blank"):
        return 1
    return 100 if token == OLD_TOKEN else 1_000_000_000


def note_start(node: Node, env: Env) -> None:
    """What a node writes down of a job before it begins."""
    node.started[f"{env['DRCTL_RUN']}/{env['DRCTL_JOB']}"] = [
        f"step={env['DRCTL_STEP']}",
        f"epoch={env['DRCTL_EPOCH']}",
        f"direction={env['DRCTL_DIRECTION']}",
        env["DRCTL_SEEN"],
    ]


def remember(node: Node, line: str) -> None:
    """What `templates/job/history.sh.j2` does."""
    last = node.history[-1] if node.history else ""
    if f" {line} " not in last:
        number = int(last.partition(" ")[0] or 0) + 1
        added = f"{number} 2026-11-23T00:00:00Z {line} {line_hash(last)}"
        node.history = [*node.history[1 - LINES :], added]


def _units(script: Script) -> list[str]:
    found = re.search(r"^units='?([^'\n]*)'?$", script.body, re.MULTILINE)
    assert found, f"{script.name} lists no units"
    return found.group(1).split()


def _assignments(body: str) -> dict[str, str]:
    lines = (line.partition("=") for line in body.splitlines() if line.startswith("DRCTL_"))
    return {name: value.strip("'") for name, _, value in lines}
