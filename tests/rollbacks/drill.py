"""One lab in which restores are killed and taken back, and how everything must be afterwards."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from drctl.drill import kubeworld, witness
from drctl.errors import DrctlError
from drctl.inventory import load_inventory
from drctl.lab import data
from drctl.lab.gateway import GatewayError
from drctl.lab.kubeapi import KubeApi
from drctl.lab.local.site import LocalSite
from drctl.lab.site import Site, SiteNode
from drctl.lab.waiting import until
from tests.support.labs import stand_ins_serve
from tests.support.operator import KILLED, Operator

SECONDS = 120.0


@dataclass(frozen=True)
class Case:
    """Kill the restore at `moment`, the end of `phase`; kill the rollback at `again`, or not."""

    order: str
    phase: str
    moment: str
    again: str
    clients: bool  # somebody may have written by then


@dataclass(frozen=True)
class Before:
    """How everything is while nothing was restored. `revision`: what was read is as of then."""

    cluster: str
    revision: int
    content: dict[str, bytes]
    machines: dict[str, str]
    objects: kubeworld.KubeSight


@dataclass
class Drill:
    """One lab, one operator, one snapshot; all rollbacks one after the other."""

    site: Site
    operator: Operator
    name: str
    snapshot: Path = Path()

    @property
    def nodes(self) -> tuple[SiteNode, ...]:
        return witness.members(self.site)

    def prepare(self) -> None:
        """What the snapshot holds, the snapshot, and what it does not hold."""
        if self.site.kubernetes:
            with kubeworld.api(self.site, self.nodes[0]) as door:
                kubeworld.write_before(door, self.name)
        self.snapshot = self.operator.backup(self.site.directory / "backup")
        self.write("later")
        if self.site.kubernetes:
            with kubeworld.api(self.site, self.nodes[0]) as door:
                kubeworld.write_later(door, self.name)

    def write(self, name: str) -> None:
        """Five keys; with Kubernetes a ConfigMap too, through an apiserver."""
        pairs = list(data.items(f"{name}-{self.name}", 5, 64, witness.prefix(self.site)))
        with witness.gateway(self.site, self.nodes[0]) as door:
            door.put_all(pairs)
        if self.site.kubernetes:
            with kubeworld.api(self.site, self.nodes[0]) as api:
                body = {"metadata": {"name": f"{name}-{self.name}"}, "data": {"text": name}}
                api.ensure(kubeworld.CONFIGMAPS, body)

    def look(self) -> Before:
        seen = witness.look(self.site, self.nodes[0])
        objects = kubeworld.KubeSight()
        if self.site.kubernetes:
            with kubeworld.api(self.site, self.nodes[0]) as door:
                objects = kubeworld.look(door)
        return Before(seen.cluster_id, seen.revision, dict(seen.content), self.machines(), objects)

    def machines(self) -> dict[str, str]:
        """Of each host: the inodes of its data, its services and manifests, and its fences."""
        return {node.name: self._machine(node) for node in self.nodes}

    def _machine(self, node: SiteNode) -> str:
        script = f"stat -c %i {node.data_dir} {node.data_dir}/member\n"
        if self.site.flavour == "local":
            script += "ls etc/fence\n"
            script += "for lock in run/*.stamp; do flock -n $lock true || echo $lock; done\n"
        else:
            script += (
                "systemctl list-units --type=service --state=running --no-legend --plain"
                " | awk '$1 ~ /etcd|kube|containerd/ {print $1}' | sort\n"
                "ls /etc/kubernetes/manifests 2>/dev/null\n"
                "ls -d /etc/systemd/system/*.d/zz-drctl-fence.conf 2>/dev/null || :\n"
            )
        return self.site.sh(node.name, script).output

    def footprint(self) -> str:
        """Every path of drctl's own on the hosts."""
        hosts = load_inventory(self.site.inventory).hosts
        found = ""
        for node in self.nodes:
            places = f"{node.data_dir}.drctl {hosts[node.name].work_dir}"
            script = f"find {places} -maxdepth 4 2>/dev/null | sort"
            found += self.site.sh(node.name, script, check=False).output
        return found

    # -- one rollback -----------------------------------------------------------------------

    def play(self, case: Case) -> dict[str, Any]:
        """What happened, as a line of the record; `violation` is empty where all was well."""
        line: dict[str, Any] = {
            "flavour": self.site.flavour,
            **{name: getattr(case, name) for name in ("order", "phase", "moment", "again")},
            "lost": "",
            "seconds": 0.0,
            "violation": "",
        }
        try:
            self._play(case, line)
        except (AssertionError, DrctlError, OSError) as error:
            line["violation"] = f"{type(error).__name__}: {error}"[:1500]
        return line

    def _play(self, case: Case, line: dict[str, Any]) -> None:
        self.write(f"sentinel-{time.time_ns():x}")
        before = self.look()
        more = ("--replace-healthy", "--runbook", case.order)
        killed = self.operator.restore(self.snapshot, *more, die=case.moment)
        assert killed.returncode == KILLED, (
            f"not killed: {killed.returncode} {killed.stderr[-800:]}"
        )
        run = self.operator.last_run()
        lose: tuple[str, ...] = ()
        if case.clients:
            self._until_kubernetes_serves()
            self.write("lost")
            line["lost"] = self._is_refused(before)
            lose = ("--lose-writes",)
        started = time.monotonic()
        if case.again:
            died = self._rollback(*lose, die=case.again)
            assert died.returncode == KILLED, f"not killed: {died.returncode} {died.stderr[-800:]}"
            lose = ()  # what was answered is not asked again
        ended = self._rollback(*lose)
        line["seconds"] = round(time.monotonic() - started, 1)
        if run["changed"]:
            assert ended.returncode == 0, f"ended with {ended.returncode}: {ended.stderr[-1200:]}"
            assert self.operator.last_run()["state"] == "rolled-back"
        else:
            assert ended.returncode == 2, f"nothing to take back, yet {ended.returncode}"
        line["whole"] = self._is_as_before(before)
        if case.clients:
            self._is_kept(str(run["run"]))

    def _rollback(self, *more: str, die: str = "") -> Any:
        return self.operator.types("rollback", *self.operator.on, "--yes", *more, die=die)

    def _until_kubernetes_serves(self) -> None:
        for node in self.nodes if self.site.kubernetes else ():
            until(partial(_ready, self.site, node), SECONDS, f"{node.name}: apiserver")

    def _is_refused(self, before: Before) -> str:
        """Without the option: exit 4, the counts, nothing changed. Returns what was said."""
        machines, prints = self.machines(), self.footprint()
        restored = witness.cluster_id(self.site, self.nodes[0])
        refused = self._rollback()
        assert refused.returncode == 4, f"not refused: {refused.returncode} {refused.stderr[-800:]}"
        counted = re.search(r"(\d+) revisions since (.*?); (\d of \d)", refused.stderr)
        keys = re.search(r"keys: (\d+) created, (\d+) changed, (\d+) deleted", refused.stderr)
        assert counted and int(counted[1]) > 0, refused.stderr[-1200:]
        assert keys and int(keys[1]) >= (6 if self.site.kubernetes else 5), refused.stderr[-1200:]
        assert "--lose-writes" in refused.stderr
        assert (self.machines(), self.footprint()) == (machines, prints), "a refusal changed things"
        assert witness.cluster_id(self.site, self.nodes[0]) == restored != before.cluster
        return f"{counted[1]} revisions; {keys[0]}"

    def _is_as_before(self, before: Before) -> bool:
        """AssertionError where anything is not; whether all of etcd could be compared."""
        for node in self.nodes:
            until(partial(witness.answers, self.site, node), SECONDS, f"{node.name}: etcd")
            assert witness.cluster_id(self.site, node) == before.cluster, f"{node.name}: cluster"
        with suppress(DrctlError):  # kubelets start pods when they find the time
            until(lambda: self.machines() == before.machines, SECONDS, "the machines")
        assert self.machines() == before.machines, f"{self.machines()}, was {before.machines}"
        whole = self._same_content(before)
        if isinstance(self.site, LocalSite):
            stand_ins_serve(self.site.lab)
        if self.site.kubernetes:
            self._until_kubernetes_serves()
            self._same_objects(before)
            self._kubelets_hear()
        return whole

    def _same_content(self, before: Before) -> bool:
        """Every key and value as of the revision of before, from every member; where Kubernetes has
        compacted that by now, what only the drill writes."""
        whole, place = True, witness.prefix(self.site)
        for node in self.nodes:
            try:
                seen = dict(witness.look(self.site, node, before.revision).content)
                wanted = before.content
            except GatewayError:
                whole = False
                now = witness.look(self.site, node).content
                seen, wanted = (
                    {key: value for key, value in all_of.items() if key.startswith(place)}
                    for all_of in (now, before.content)
                )
            differing = [k for k in seen.keys() | wanted.keys() if seen.get(k) != wanted.get(k)]
            assert not differing, f"{node.name}: {len(differing)} keys differ: {differing[:5]}"
        return whole

    def _same_objects(self, before: Before) -> None:
        lost = f"{kubeworld.CONFIGMAPS}/lost-{self.name}"
        for node in self.nodes:
            with kubeworld.api(self.site, node) as door:
                now = kubeworld.look(door)
                missing = before.objects.missing_from(now)
                assert not missing, f"{node.name}: objects of before are missing: {missing[:5]}"
                assert now.changing == before.objects.changing
                assert not kubeworld.exists(door, lost), f"{node.name} shows what was taken back"

    def _kubelets_hear(self) -> None:
        """Each kubelet takes up a pod that is bound to it now: it watches this Kubernetes, not a
        revision of the one that was taken back."""
        place = "/api/v1/namespaces/default/pods"
        with kubeworld.api(self.site, self.nodes[0]) as door:
            hosts = [node["metadata"]["name"] for node in door.items("/api/v1/nodes")]
            pods = {host: f"{kubeworld.PASSING}{host}-{time.time_ns():x}" for host in hosts}
            for host, pod in pods.items():
                door.create(place, _pod(pod, host))
            for host, pod in pods.items():
                heard = partial(_taken_up, door, f"{place}/{pod}")
                until(heard, SECONDS, f"the kubelet of {host}, to take up a pod")
                door.delete(f"{place}/{pod}?gracePeriodSeconds=0")

    def _is_kept(self, run: str) -> None:
        """The restored data is where the product says; then it makes room for the next drill."""
        for node in self.nodes:
            stage = f"{node.data_dir}.drctl/{run}"
            self.site.sh(node.name, f"test -s {stage}/restored/*/member/snap/db")
            self.site.sh(node.name, f"test ! -e {stage}/new && rm -r {stage}")


def _ready(site: Site, node: SiteNode) -> bool:
    with suppress(DrctlError), kubeworld.api(site, node, timeout=5) as door:
        return door.text("/readyz") == "ok"
    return False


def _taken_up(door: KubeApi, pod: str) -> bool:
    return "startTime" in door.get(pod)["status"]


def _pod(name: str, host: str) -> dict[str, Any]:
    container = {"name": "c", "image": "lab.local/none:1", "imagePullPolicy": "Never"}
    spec = {
        "nodeName": host,
        "tolerations": [{"operator": "Exists"}],
        "automountServiceAccountToken": False,
        "containers": [container],
    }
    return {"metadata": {"name": name}, "spec": spec}
