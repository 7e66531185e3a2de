"""etcd/facts on real directories."""

from __future__ import annotations

import os
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from drctl.answer import parse
from drctl.etcd.complaints import reason
from drctl.lab import binaries
from drctl.lab.certs import Authority
from drctl.plan.planner import host_context
from drctl.render import render, render_script
from tests.etcd.samples import recorded
from tests.templates.node import HOST, Node
from tests.templates.shells import Shell, needed


@pytest.fixture
def node(shell: Shell, tmp_path: Path) -> Node:
    return Node(tmp_path / "n", shell, wal=True)


def facts(node: Node) -> dict[str, str]:
    task = node.plan.step("facts").tasks[HOST]
    assert task.observe
    ran = node.shell.stdin(task.observe.body, node.env(task, {}))
    assert ran.status == 0, ran
    return dict(parse(ran.out))


def test_directories(node: Node) -> None:
    node.data.mkdir(mode=0o710)
    found = facts(node)
    assert (found["data_kind"], found["wal_kind"]) == ("directory", "absent")
    assert found["stage"] == f"{node.data}.drctl" and found["wal_stage"] == f"{node.wal}.drctl"
    assert found["data_mode"] == "710"
    assert found["data_owner"] == f"{os.getuid()}:{os.getgid()}"
    assert found["same_fs"] == "yes"
    free = os.statvfs(node.data)
    assert abs(int(found["data_free"]) - free.f_bavail * free.f_frsize) < 2**30
    assert int(found["wal_free"]) > 0
    assert abs(int(found["now"]) - node.data.stat().st_ctime) < 60


def test_live_tells_of_earlier_restores_when_no_member_answers(node: Node) -> None:
    records = {"run-1": '{"reached": 3000000044, "run": "run-1"}', "run-2": '{"reached": null}'}
    for run, text in records.items():
        kept = node.root / "work" / run / "record.json"
        kept.parent.mkdir(parents=True)
        kept.write_text(text + "\n")
        os.utime(kept, (kept.stat().st_mtime - 900,) * 2)
    task = node.plan.step("live").tasks[HOST]
    assert task.observe
    told = parse(node.shell.stdin(task.observe.body, node.env(task, {})).out)
    assert told["status_json"] == ""
    revision, _, age = told["restored"].partition(":")
    assert revision == "3000000044" and int(age) >= 900


def test_absent_gives_a_mode_and_an_owner(node: Node) -> None:
    found = facts(node)
    assert (found["data_kind"], found["data_mode"]) == ("absent", "700")
    assert found["data_owner"] == f"{os.getuid()}:{os.getgid()}"  # no unit names a user here


def test_the_unit_names_the_owner(node: Node) -> None:
    systemctl = node.shell.bin / "systemctl"
    systemctl.write_text("#!/bin/sh\n[ \"$2 $3\" = '-p User' ] && echo User=daemon\n")
    systemctl.chmod(0o755)
    uid = subprocess.run(["id", "-u", "daemon"], capture_output=True, text=True, check=True).stdout
    assert facts(node)["data_owner"].startswith(f"{uid.strip()}:")
    systemctl.write_text("#!/bin/sh\necho User=no-such-user\n")
    assert facts(node)["data_owner"] == ""


def test_symlinks(node: Node, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    node.data.symlink_to(tmp_path / "disk")
    node.wal.symlink_to(tmp_path / "nowhere")
    found = facts(node)
    assert (found["data_kind"], found["wal_kind"]) == ("symlink", "other")
    assert found["stage"] == f"{node.data}/.drctl"


def test_a_file_is_something_else(node: Node) -> None:
    node.data.write_text("")
    assert facts(node)["data_kind"] == "other"


def test_a_link_to_another_filesystem_is_another_filesystem(node: Node) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == node.root.stat().st_dev:
        pytest.skip("no second file system here")
    node.data.mkdir()
    node.wal.symlink_to(other)
    assert facts(node)["same_fs"] == "no"


@pytest.mark.parametrize(
    ("directory", "kind", "stage"),
    [
        ("/proc", "mount", "/proc/.drctl"),
        ("/dev", "mounts inside it", "/dev.drctl"),
        ("/usr", "directory", "/usr.drctl"),
    ],
)
def test_mount_points(shell: Shell, directory: str, kind: str, stage: str) -> None:
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    below = any(point.startswith(f"{directory}/") for point in points)
    if (kind == "mounts inside it") != below or (kind == "mount") != (
        directory in points and not below
    ):
        pytest.skip(f"{directory} is mounted otherwise here")
    script = f"{render('etcd/layout.sh')}\nkind_of {directory}\nstage_of {directory}"
    assert shell.stdin(script, {}).out == f"{kind}\n{stage}\n"


def test_tools_that_are_missing(node: Node) -> None:
    assert facts(node)["tools_missing"] == ""
    for tool in ("flock", "sha256sum"):
        (node.shell.bin / tool).unlink(missing_ok=True)
    if node.shell.kind == "dash":
        node.shell.path = str(node.shell.bin)
        for tool in [
            "awk",
            "sed",
            "grep",
            "cat",
            "date",
            "stat",
            "df",
            "readlink",
            "timeout",
            "head",
            "sort",
            "tr",
            "dirname",
            "id",
            "tail",
        ]:
            (node.shell.bin / tool).symlink_to(needed(tool))
        (node.shell.bin / "setsid").symlink_to(needed("setsid"))
    assert facts(node)["tools_missing"] == "sha256sum flock"


def test_versions_and_flags(node: Node, etcd_dir: Path) -> None:
    empty = facts(node)
    assert (empty["etcd_version"], empty["etcdutl_version"], empty["restore_flags"]) == ("", "", "")
    binaries.install(etcd_dir, node.root / "shared", [node.root / "bin"])
    found = facts(node)
    version = ".".join(map(str, binaries.version(etcd_dir / "etcd")))
    for tool in ("etcd", "etcdctl", "etcdutl"):
        assert found[f"{tool}_version"] == version
    assert {"data-dir", "wal-dir", "initial-cluster-token"} <= set(found["restore_flags"].split())


def test_certificates(shell: Shell, tmp_path: Path) -> None:
    pki = tmp_path / "pki"
    pki.mkdir()
    tls = f"tls: {{ca: {pki}/ca, cert: {pki}/cert, key: {pki}/key}}"
    node = Node(tmp_path / "n", shell, tls=tls)
    assert facts(node)["certs_missing"] == f"{pki}/ca {pki}/cert {pki}/key"
    made = f"req -x509 -newkey rsa:2048 -nodes -subj /CN=x -keyout {pki}/key -out {pki}/cert"
    subprocess.run([needed("openssl"), *made.split()], check=True, capture_output=True)
    (pki / "ca").touch()
    if shell.kind == "busybox":
        (shell.bin / "openssl").symlink_to(needed("openssl"))
    found = facts(node)
    assert found["certs_missing"] == ""
    assert found["certs_expired"] == ""
    yesterday = Authority.new().issue("etcd", valid=timedelta(days=-1))
    (pki / "server.crt").write_bytes(yesterday.cert)
    (pki / "peer.crt").write_bytes((pki / "cert").read_bytes())
    assert facts(node)["certs_expired"] == f"{pki}/server.crt"
    assert found["cert_not_after"].endswith(" GMT")


@pytest.mark.parametrize("version", recorded())
def test_a_dead_member_is_asked_once_by_each_version(
    shell: Shell, tmp_path: Path, version: str
) -> None:
    """What it prints is for the judge; by its exit status the script knows to ask no more."""
    said = recorded()[version]["one member dead"]["etcdctl endpoint status"]
    node = Node(tmp_path / "n", shell)
    program = node.root / "bin/etcdctl"
    for name in ("out", "err"):
        (node.root / name).write_text(said[name])
    program.write_text(
        f"#!/bin/sh\necho called >> {node.root}/calls\ncat '{node.root}/out'\n"
        f"cat '{node.root}/err' >&2\nexit {said['exit']}\n"
    )
    program.chmod(0o755)
    task = node.plan.step("live").tasks[HOST]
    assert task.observe
    found = parse(node.run(task.observe, {}).out)
    assert found["status_json"] == said["out"].strip()
    assert "members_json" not in found
    assert "context deadline exceeded" in found["status_said"]
    assert reason(found["status_said"]) == reason(said["err"])
    assert (node.root / "calls").read_text().splitlines() == ["called"]


OF_A_LOGIN = (
    "ETCDCTL_ENDPOINTS=x ETCDCTL_USER=a:b ETCDCTL_DISCOVERY_SRV=example.invalid "
    "HTTPS_PROXY=http://x ETCDCTL_INSECURE_SKIP_TLS_VERIFY=true ETCDCTL_API=2 LC_ALL=de_DE.UTF-8 "
    "CONTAINERD_ADDRESS=/x ETCD_NAME=x"
)


@pytest.mark.parametrize("step", ["live", "identity", "facts"])
def test_tools_get_an_environment_of_our_own_making(
    shell: Shell, tmp_path: Path, step: str
) -> None:
    node = Node(tmp_path / "n", shell)
    for tool in ("etcd", "etcdctl", "etcdutl"):
        (node.root / f"bin/{tool}").write_text(
            f'#!/bin/sh\nenv >> {node.root}/environment\necho \'[{{"said": "a\\\\nb"}}]\'\n'
        )
        (node.root / f"bin/{tool}").chmod(0o755)
    task = node.plan.step(step).tasks[HOST]
    assert task.observe
    found = parse(shell.stdin(f"export {OF_A_LOGIN}\n{task.observe.body}", node.env(task, {})).out)
    had = (node.root / "environment").read_text().splitlines()
    names = {line.partition("=")[0] for line in had} - {"PWD", "SHLVL", "_"}  # a shell's own
    assert names == {"PATH", "HOME", "LC_ALL", "ETCDCTL_API"}
    assert {"ETCDCTL_API=3", "LC_ALL=C"} <= {*had}
    if step != "facts":
        assert found["status_json"] == '[{"said": "a\\nb"}]'  # backslashes as they are


SAID = r"""
"ClusterID" : 15875391935852295136
"Revision" : 1000000120
"Key" : "/registry/pods/ns/old"
"CreateRevision" : 9
"ModRevision" : 90
"Value" : ""
"Key" : "/registry/pods/ns/new"
"CreateRevision" : 1000000113
"ModRevision" : 1000000113
"Key" : "/registry/apps.example/widgets/ns/x"
"CreateRevision" : 1000000114
"ModRevision" : 1000000120
"Key" : "/registry/leases/kube-system/it's \"quoted\""
"CreateRevision" : 9
"ModRevision" : 1000000118
"Key" : "/drill/later-1"
"CreateRevision" : 1000000119
"ModRevision" : 1000000119
"Key" : "no slash"
"CreateRevision" : 1000000119
"ModRevision" : 1000000119
"More" : false
"Count" : 6
"""


@pytest.mark.parametrize("whole", [True, False])
def test_what_was_written_is_counted_by_kind(shell: Shell, tmp_path: Path, whole: bool) -> None:
    """A list that was cut short is none."""
    node = Node(tmp_path / "n", shell)
    said = SAID if whole else SAID.partition('"More"')[0]
    (node.root / "said").write_text(said)
    program = node.root / "bin/etcdctl"
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *--keys-only*) cat {node.root}/said ;;\n'
        "*--count-only*--rev=1000000112*) echo '\"Count\" : 4' ;; *) echo '[{}]' ;; esac\n"
    )
    program.chmod(0o755)
    script = render_script(
        "etcd/written",
        None,
        **host_context(node.inventory, HOST),
        proven_revision=1_000_000_112,
    )
    found = parse(node.run(script, {}).out)
    assert found["keys_before"] == "4"
    assert found.get("listed") == ("yes" if whole else None)
    kinds = "pods:1:0 apps.example/widgets:1:0 leases:0:1 /drill:1:0 (other):1:0"
    assert sorted(found.get("written", "").split()) == (sorted(kinds.split()) if whole else [])
    assert found.get("keys_left") == ("2" if whole else None)
