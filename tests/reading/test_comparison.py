"""One thing wrong on one host: refused in step 1, with the words that mend it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from drctl.inventory import Inventory, Prepare, load_inventory
from drctl.inventory.corrected import corrected
from drctl.verdict import Verdict
from tests.reading.conftest import TEXT, inventory_of, judge
from tests.support import readings
from tests.support.readings import answer, as_claimed, flags_of, manifest, pod_text, process, unit

DB = "/var/lib/etcd/member/snap/db"
Host = Callable[[Inventory], str]


def etcd(inventory: Inventory, *more: str, without: str = "", **how: Any) -> dict[str, str]:
    """m1's etcd with some of its arguments changed."""
    given = {"db": DB, **how}
    argv = [f for f in flags_of(inventory.member("m1")) if not without or without not in f]
    return process(812, ["/usr/local/bin/etcd", *argv, *more], **given)


def one(inventory: Inventory, *more: str, units: tuple[str, ...] = (), **how: Any) -> str:
    return answer(etcd(inventory, *more, **how), {"data_here": "yes"}, units=units)


CONFIG = "name: infra0\ndata-dir: /var/lib/etcd\n"
FILES = "/etc/etcd.env (ignore_errors=no)"
ENVIRONMENT_FILE = {
    "data_here": "yes",
    "f.1.path": readings.b64("/etc/etcd.env\n"),
    "f.1.env": readings.b64(
        "ETCD_DATA_DIR=/srv/etcd\nETCD_NAME=etcd-10.0.0.11\n"
        "ETCD_LISTEN_CLIENT_URLS=https://10.0.0.11:2379\n"
    ),
}


def etcd_unit(inventory: Inventory, data: str = "/var/lib/etcd", **more: str) -> str:
    words = ["/usr/local/bin/etcd", *flags_of(inventory.member("m1"), data)]
    return unit("etcd.service", " ".join(words), **more)


def _apiserver(cgroup: str = "0::/system.slice/kube-apiserver.service") -> dict[str, str]:
    return process(900, ["/usr/local/bin/kube-apiserver", "--etcd-servers=x"], cgroup=cgroup)


UNITS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
)


def _units(*changed: str, without: str = "") -> tuple[str, ...]:
    there = [
        u for u in UNITS if u != without and not any(c.startswith(f"Id={u}.") for c in changed)
    ]
    return (
        *(unit(f"{u}.service", f"/usr/local/bin/{u} --v=1") for u in there if u != "etcd"),
        *changed,
    )


WRONG: Mapping[str, tuple[Host, str, str]] = {
    "another data directory": (
        lambda i: one(i, db="/data/etcd/member/snap/db"),
        "data_dir",
        "its etcd keeps its data in /data/etcd (open in process 812, unit etcd.service); "
        "write etcd.members.m1.data_dir: /data/etcd",
    ),
    "a separate WAL directory": (
        lambda i: one(i, "--wal-dir=/data/wal", wal="/data/wal/0000000000000000-0.wal"),
        "wal_dir",
        "m1 has no wal_dir, but its etcd keeps its WAL in /data/wal",
    ),
    "another name": (
        lambda i: one(i, "--name=infra0"),
        "name",
        "but its etcd is called infra0 (arguments of process 812",
    ),
    "another name in the environment": (
        lambda i: one(i, without="--name", env={"ETCD_NAME": "infra0"}),
        "name",
        "but its etcd is called infra0 (environment of process 812",
    ),
    "other peer URLs": (
        lambda i: one(i, "--initial-advertise-peer-urls=https://m1.example:2380"),
        "peer_urls",
        "its etcd is told https://m1.example:2380",
    ),
    "another client port": (
        lambda i: one(i, "--listen-client-urls=https://10.0.0.11:4001"),
        "client_urls",
        "its etcd listens for clients at https://10.0.0.11:4001",
    ),
    "plain http": (
        lambda i: one(i, "--listen-client-urls=http://10.0.0.11:2379"),
        "client_urls",
        "its etcd listens for clients at http://10.0.0.11:2379",
    ),
    "force-new-cluster in a drop-in": (
        lambda i: one(
            i,
            units=_units(etcd_unit(i, Environment="ETCD_FORCE_NEW_CLUSTER=true")),
        ),
        "force_new_cluster",
        "its etcd makes a new cluster of its own at every start",
    ),
    "force-new-cluster alone": (
        lambda i: one(i, "--force-new-cluster"),
        "force_new_cluster",
        "take force-new-cluster out of the unit etcd.service",
    ),
    "another folder of programs": (
        lambda i: one(i, exe="/opt/etcd-3.4/etcd"),
        "bin_dir",
        "its etcd is /opt/etcd-3.4/etcd",
    ),
    "a unit of another name": (
        lambda i: one(i, cgroup="0::/system.slice/etcd3.service"),
        "starter.etcd",
        "its etcd runs by another: unit etcd3.service (process 812); write services.etcd: "
        "{manager: systemd, units: [etcd3]}",
    ),
    "started by hand": (
        lambda i: one(i, cgroup="0::/user.slice/user-0.slice/session-1.scope", parent_comm="bash"),
        "starter.etcd",
        "its etcd runs by another: started by bash",
    ),
    "in a static pod": (
        lambda i: one(i, cgroup=f"0::/kubepods/burstable/pod{'a' * 32}/{'b' * 64}", mounts="other"),
        "starter.etcd",
        "write services.etcd.manager: static-pod",
    ),
    "a configuration file beats flags": (
        lambda i: one(i, "--config-file=/etc/etcd.yml", config=CONFIG),
        "name",
        "but its etcd is called infra0 (/etc/etcd.yml",
    ),
    "a configuration file that cannot be read": (
        lambda i: one(i, "--config-file=/etc/etcd.yml", config="name: [\n"),
        "settings",
        "its configuration file /etc/etcd.yml is no YAML that can be read",
    ),
    "a unit that is not there": (
        lambda i: one(i, units=_units(without="kube-scheduler")),
        "unit.kube-scheduler",
        "m1 has no such unit",
    ),
    "edited, and not restarted": (
        lambda i: one(
            i,
            units=_units(etcd_unit(i, data="/new/etcd")),
        ),
        "data_dir",
        "its etcd keeps its data in /new/etcd (ExecStart= of etcd.service",
    ),
    "edited, and not read by systemd": (
        lambda i: one(i, units=_units(etcd_unit(i, NeedDaemonReload="yes"))),
        "unit_unread",
        "etcd.service was changed on disk, and systemd has not read it yet",
    ),
    "to start as somebody who cannot read the data": (
        lambda i: answer(
            etcd(i, user="0:0"),
            {"data_here": "yes", "uid.data": "0", "users": "daemon:1"},
            units=_units(etcd_unit(i, User="daemon")),
        ),
        "owner",
        "but its etcd would run as daemon, who cannot read it (unit etcd.service, as it would",
    ),
    "dead, and its environment file says otherwise": (
        lambda i: answer(
            ENVIRONMENT_FILE,
            units=_units(unit("etcd.service", "/usr/local/bin/etcd", EnvironmentFiles=FILES)),
        ),
        "data_dir",
        "its etcd keeps its data in /srv/etcd (/etc/etcd.env, unit etcd.service)",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_refused_with_the_words_that_mend_it(prod: Inventory, what: str) -> None:
    shows, field, words = WRONG[what]
    verdict = judge(prod, {"m1": shows(prod)})
    problem = next(p for p in verdict.problems if p.message.endswith(f"[node.m1.{field}]"))
    assert words in problem.message
    assert problem.message.startswith(f"{prod.path}:")
    assert problem.host == "m1" and problem.hint and "--accept-drift NAME" in problem.hint
    assert not [p for p in verdict.problems if p.host != "m1"]


@pytest.mark.parametrize("what", WRONG)
def test_accepted_by_name_it_is_said_and_nothing_more(prod: Inventory, what: str) -> None:
    shows, _, _ = WRONG[what]
    refused = judge(prod, {"m1": shows(prod)}).problems
    names = [p.message.rpartition("[")[2].rstrip("]") for p in refused]
    verdict = judge(prod, {"m1": shows(prod)}, options={"accept_drift": names})
    assert not verdict.problems
    assert all(any("accepted: " in w for w in verdict.warnings) for _ in names)


def test_as_claimed_nothing_is_said(prod: Inventory) -> None:
    verdict = judge(prod, {})
    assert not verdict.problems and not verdict.warnings
    assert verdict.findings == ("the inventory is what runs on m1, m2, m3, w1",)


def test_a_name_that_differs_in_nothing_is_told(prod: Inventory) -> None:
    verdict = judge(prod, {}, options={"accept_drift": ["node.m1.name", "machine_id.m1"]})
    assert verdict.warnings == ("nothing to accept: node.m1.name does not differ",)


def test_what_the_restore_installs_need_not_be_there(prod: Inventory) -> None:
    bare = answer({"data_here": "no"}, units=_units())
    assert any("[node.m1.unit.etcd]" in p.message for p in judge(prod, {"m1": bare}).problems)
    made = Prepare(hosts=("m1",), binaries=prod.path, certificates={}, flags={})
    verdict = judge(prod.model_copy(update={"prepare": made}), {"m1": bare})
    assert not verdict.problems and not verdict.warnings


def test_an_apiserver_that_nobody_listed(prod: Inventory) -> None:
    verdict = judge(prod, {"w1": answer(_apiserver())})
    (problem,) = verdict.problems
    assert "w1 has no kube-apiserver, but one runs there" in problem.message
    assert "write groups.control_plane: […, w1]" in problem.message


def test_an_apiserver_on_a_host_that_is_not_in_the_inventory(prod: Inventory) -> None:
    """etcd names it; those at other addresses of our hosts, or that they advertise, are known."""
    advertised = process(
        900, ["/usr/local/bin/kube-apiserver", "--advertise-address=192.168.0.12"],
        cgroup="0::/system.slice/kube-apiserver.service",
    )  # fmt: skip
    leases = "10.0.0.11 10.0.0.99 192.168.0.11 192.168.0.12 fd00::1"
    own = {"addresses": "127.0.0.1 192.168.0.11 fd00:0000:0000:0000:0000:0000:0000:0001"}
    host = answer(etcd(prod), {"data_here": "yes", "leases": leases, **own})
    second = as_claimed(prod, "m2") + answer(advertised).replace("clients=\n", "")
    verdict = judge(prod, {"m1": host, "m2": second})
    (problem,) = [p for p in verdict.problems if "masterleases" in p.message]
    assert "one at 10.0.0.99 writes to it" in problem.message
    assert problem.message.endswith("[node.m1.apiserver.10.0.0.99]")
    accepted = {"accept_drift": ["node.m1.apiserver.10.0.0.99"]}
    verdict = judge(prod, {"m1": host, "m2": second}, options=accepted)
    assert not verdict.problems


@pytest.mark.parametrize("lease", ["10.0.0.99/../x", "m9.example", "$(reboot)"])
def test_a_lease_that_is_no_address_is_no_answer(prod: Inventory, lease: str) -> None:
    host = answer(etcd(prod), {"data_here": "yes", "leases": lease})
    (problem,) = judge(prod, {"m1": host}).problems
    assert "leases has something that is no address" in problem.message


def test_a_member_of_this_cluster_on_a_host_that_is_none(prod: Inventory) -> None:
    peers = ",".join(f"{m.name}={m.peer_urls[0]}" for m in prod.members)
    stray = process(1, ["/usr/bin/etcd", f"--initial-cluster={peers},x=https://10.0.0.21:2380"])
    (problem,) = judge(prod, {"w1": answer(stray)}).problems
    assert "w1 has no etcd, but one runs there" in problem.message
    alone = process(1, ["/usr/bin/etcd", "--initial-cluster=x=https://10.0.0.21:2380"])
    assert not judge(prod, {"w1": answer(alone)}).problems, "somebody else's cluster"


def test_another_etcd_is_told_where_all_hosts_are_reached_by_one_address(tmp_path: Path) -> None:
    """Behind forwarded ports, every host's SSH address is 127.0.0.1: it tells none apart."""
    text = re.sub(
        r"address: 10\.0\.0\.(\d+)",
        r"address: 127.0.0.1, port: 22\1, cluster_address: 10.0.0.\1",
        TEXT,
    )
    inventory = inventory_of(tmp_path, text)
    argv = ["etcd", "--name=other", "--data-dir=/x"]
    other = process(5, argv, cgroup="0::/other.service", listens=[("127.0.0.1", 3379)])
    argv = ["/usr/local/bin/etcd", *flags_of(inventory.member("m2"))]
    host = answer(process(6, argv, db=DB), other, {"data_here": "yes"})
    verdict = judge(inventory, {"m2": host})
    assert any("m2: another etcd runs there, and is left alone" in w for w in verdict.warnings)


def test_pods_with_networks_of_their_own_are_nobodys_members(prod: Inventory) -> None:
    calico = process(
        77, ["etcd", "--name=calico"], cgroup=f"0::/kubepods/pod{'a' * 32}/x", network="other"
    )
    verdict = judge(prod, {"m1": answer(etcd(prod), calico, {"data_here": "yes"})})
    assert not verdict.problems and not verdict.warnings


@pytest.mark.parametrize("size,refused", [(1 << 20, False), (3 << 30, True)])
def test_a_quota_below_the_snapshot(prod: Inventory, size: int, refused: bool) -> None:
    verdict = judge(prod, {}, size=size)
    assert any("[node.m1.quota]" in p.message for p in verdict.problems) is refused
    raised = one(prod, f"--quota-backend-bytes={8 << 30}")
    assert not [p for p in judge(prod, {"m1": raised}, size=size).problems if p.host == "m1"]


def test_what_is_only_sad_is_a_warning(prod: Inventory) -> None:
    slow = etcd_unit(prod, TimeoutStartUSec="1s")
    stranger = f"094B:{readings.kernel_address('10.9.9.9', 1).partition(':')[0]}"
    host = answer(etcd(prod), {"data_here": "yes"}, units=_units(slow), clients=stranger)
    verdict = judge(prod, {"m1": host})
    assert not verdict.problems
    assert any("systemd ends its etcd after 1 s" in w for w in verdict.warnings)
    assert any("others are connected to it: 10.9.9.9" in w for w in verdict.warnings)


OWNED = TEXT + "etcd: {owner: 'etcd:etcd'}\n"


@pytest.mark.parametrize("runs,refused", [("105:105", None), ("0:0", False), ("7:7", True)])
def test_the_owner_that_the_inventory_gives_the_data(
    tmp_path: Path, runs: str, refused: bool | None
) -> None:
    """Whoever is not root must own what he is to read; root needs not."""
    inventory = inventory_of(tmp_path, OWNED)
    shown = {"data_here": "yes", "uid.data": "7", "uid.claimed": "105"}
    verdict = judge(inventory, {"m1": answer(etcd(inventory, user=runs), shown)})
    words = "prod.yaml:12: the data of m1 is to belong to etcd:etcd, but its etcd runs as "
    assert any(words in p.message for p in verdict.problems) is (refused is True)
    assert any(words in w for w in verdict.warnings) is (refused is False)


def test_where_nothing_is_left_it_says_what_could_not_be_compared(prod: Inventory) -> None:
    verdict = judge(prod, {"m1": answer({"data_here": "no"})}, silent={"w1": "no route"})
    assert not verdict.problems
    assert any("m1: no etcd runs, and nothing was found" in w for w in verdict.warnings)
    assert "w1: not compared with the inventory: no route" in verdict.warnings


STATIC = TEXT.replace("kubeasz", "kubeadm").replace("[m1, m2]", "[m1, m2, m3]")


def pod(inventory: Inventory, text: str, path: str = "/etc/kubernetes/manifests/etcd.yaml") -> str:
    return answer(manifest(path, text), {"data_here": "no"})


def test_a_manifest_whose_host_path_is_elsewhere(tmp_path: Path) -> None:
    inventory = inventory_of(tmp_path, STATIC)
    assert not judge(inventory, {}).problems
    text = pod_text(flags_of(inventory.member("m1")), "/var/lib/etcd")
    moved = text.replace("      path: /var/lib/etcd", "      path: /mnt/etcd")
    (problem,) = judge(inventory, {"m1": pod(inventory, moved)}).problems
    assert "its etcd keeps its data in /mnt/etcd" in problem.message
    assert "manifest /etc/kubernetes/manifests/etcd.yaml" in problem.message


def test_the_kubelets_own_folder_is_the_truth(tmp_path: Path) -> None:
    inventory = inventory_of(tmp_path, STATIC)
    text = pod_text(flags_of(inventory.member("m1")), "/var/lib/etcd")
    runs = process(
        5,
        ["etcd", *flags_of(inventory.member("m1"))],
        cgroup=f"0::/kubepods/pod{'a' * 32}/x",
        mounts="other",
        db=DB,
    )
    host = answer(manifest("/etc/other/etcd.yaml", text), runs, {"data_here": "yes"})
    (problem,) = judge(inventory, {"m1": host}).problems
    assert "write kubernetes.manifests: /etc/other" in problem.message


@pytest.mark.parametrize("alive", [True, False])
def test_stale_manifests_in_the_inventorys_folder_start_nothing(
    tmp_path: Path, alive: bool
) -> None:
    """The kubelet reads another folder, and a copy of each file lies where the inventory says."""
    inventory = inventory_of(tmp_path, STATIC)
    flags = flags_of(inventory.member("m1"))
    text = pod_text(flags, "/var/lib/etcd")
    pods = f"0::/kubepods/pod{'a' * 32}/x"
    runs = process(5, ["etcd", *flags], cgroup=pods, mounts="other", db=DB) if alive else {}
    kubelet = process(
        7, ["kubelet"], cgroup="0::/system.slice/kubelet.service", manifests="/etc/other"
    )
    host = answer(
        manifest("/etc/kubernetes/manifests/etcd.yaml", text, number=1),
        manifest("/etc/other/etcd.yaml", text, number=2),
        *(runs, kubelet, {"data_here": "yes"}),
    )
    (problem,) = judge(inventory, {"m1": host}).problems
    assert "the kubelet's manifests are in /etc/kubernetes/manifests" in problem.message
    assert "reads them from /etc/other" in problem.message
    assert "write kubernetes.manifests: /etc/other" in problem.message


def test_the_owner_of_lost_data_is_the_manifests(tmp_path: Path) -> None:
    inventory = inventory_of(tmp_path, STATIC)
    text = pod_text(flags_of(inventory.member("m1")), "/var/lib/etcd")
    text = text.replace(
        "  hostNetwork", "  securityContext: {runAsUser: 1001, runAsGroup: 1002}\n  hostNetwork"
    )
    verdict = judge(inventory, {"m1": pod(inventory, text)})
    assert verdict.values["owner"] == {"m1": "1001:1002"}


def test_a_manifest_that_is_none_is_said_and_blocks_nothing(tmp_path: Path) -> None:
    inventory = inventory_of(tmp_path, STATIC)
    found = manifest("/etc/kubernetes/manifests/x.yaml", "etcd: &a [*a]\n", number=2)
    verdict = judge(
        inventory, {"m1": as_claimed(inventory, "m1") + answer(found).replace("clients=\n", "")}
    )
    assert not verdict.problems
    assert any("x.yaml is no manifest that can be read" in w for w in verdict.warnings)


def test_the_corrected_inventory_is_what_runs(prod: Inventory, tmp_path: Path) -> None:
    wrong = one(
        prod,
        "--name=infra0",
        db="/data/etcd/member/snap/db",
        cgroup="0::/system.slice/etcd3.service",
    )
    found = _differences(judge(prod, {"m1": wrong}, judge="reading.differences"))
    edits = [(tuple(d["edit"]["path"]), d["edit"]["value"], d["edit"]["append"]) for d in found]
    new = tmp_path / "new.yaml"
    new.write_text(corrected(prod.path, edits))
    again = load_inventory(new)
    mended = judge(again, {"m1": wrong, **{h: as_claimed(prod, h) for h in ("m2", "m3")}})
    assert not [p for p in mended.problems if p.host == "m1"]


def _differences(verdict: Verdict) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = verdict.values["differences"]
    return found
