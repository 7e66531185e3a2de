"""service/* with the manager `static-pod`, over a stand-in for the kubelet."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from drctl.answer import parse
from drctl.render import render
from tests.templates.node import HOST, RUN
from tests.templates.pods import MANIFEST, PodNode
from tests.templates.shells import Ran, Shell

MARK = f'    drctl/run: "{RUN}"\n'


@pytest.fixture
def still(shell: Shell, tmp_path: Path) -> Iterator[PodNode]:
    """No kubelet runs yet."""
    node = PodNode(tmp_path / "n", shell)
    yield node
    node.close()


@pytest.fixture
def node(still: PodNode) -> PodNode:
    still.kubelet()
    return still


@pytest.fixture
def quick(dash: Shell, tmp_path: Path) -> Iterator[PodNode]:
    """For what does not depend on the shell; a whole second of proof that it is gone."""
    node = PodNode(tmp_path / "n", dash, settle=1)
    node.kubelet()
    yield node
    node.close()


def manifest(node: PodNode, unit: str) -> Path:
    return node.manifests / f"{unit}.yaml"


def manager(node: PodNode, line: str) -> Ran:
    """What the product's service manager says to `line`."""
    task = node.task("stop-etcd")
    assert task.act
    head = task.act.body.split("\nunits=", 1)[0]
    return node.shell.stdin(f"{head}\n{line}", node.env(task, {}))


def annotated(node: PodNode, unit: str) -> str:
    plain = MANIFEST.format(unit=unit, program=unit)
    return plain.replace("  annotations:\n", f"  annotations:\n{MARK}")


@pytest.mark.parametrize("back", ["mgr_unfence", "mgr_restore"])
def test_what_is_parked_goes_when_the_manifest_is_on_the_disk(node: PodNode, back: str) -> None:
    """They may lie on two filesystems, and a power cut keeps one of them only as it was."""
    assert node.act("stop-apiserver").status == 0
    assert not manifest(node, node.one).exists()
    log, sync = node.root / "log", node.shell.bin / "sync"
    sync.unlink()
    (copy,) = node.root.rglob(f"parked/{node.one}/{node.one}.yaml")
    sync.write_text(
        f"#!/bin/sh\n[ ! -e {manifest(node, node.one)} ] || [ ! -e {copy} ] || echo both >> {log}\n"
    )
    sync.chmod(0o755)
    assert manager(node, f"{back} {node.one}").status == 0
    assert log.exists(), "never flushed while both were there"
    assert manifest(node, node.one).exists() and not copy.exists()


def test_parked_and_gone(node: PodNode) -> None:
    before = manifest(node, node.one).read_bytes()
    seen = node.observe("stop-apiserver")
    assert seen["state"] == "before" and seen["was"] == f"{node.one}:active,{node.two}:active,"
    assert node.act("stop-apiserver").status == 0
    assert node.state("stop-apiserver") == "after"
    assert node.visible() == {f"{node.etcd}.yaml"}
    assert not node.pids(node.one) and not node.pids(node.two) and node.pids(node.etcd)
    parked = node.root / "work/parked" / node.one / f"{node.one}.yaml"
    assert parked.read_bytes() == before and parked.stat().st_mode & 0o777 == 0o600
    assert node.act("stop-apiserver").status == 0


def test_started_as_another_pod(node: PodNode) -> None:
    """The same bytes would be the same pod, which has to wait."""
    assert node.act("stop-etcd").status == 0
    assert node.state("start-etcd") == "before"
    assert node.act("start-etcd").status == 0
    assert node.state("start-etcd") == "after"
    assert manifest(node, node.etcd).read_text() == annotated(node, node.etcd)
    assert manifest(node, node.etcd).stat().st_mode & 0o777 == 0o600
    assert not (node.root / "work/parked" / node.etcd).exists()
    assert not [line for line in node.log() if line.startswith("back-off")]
    assert len(node.pids(node.etcd)) == 1


def test_a_start_of_what_is_down_in_its_place_makes_another_pod(quick: PodNode) -> None:
    node = quick
    node.act("stop-etcd")
    node.act("start-etcd")
    for pid in node.pids(node.etcd):
        subprocess.run(["kill", "-9", pid], check=True)
    assert node.state("start-etcd") == "before"
    assert node.act("start-etcd").status == 0
    assert f'drctl/run: "{RUN}.' in manifest(node, node.etcd).read_text()


def test_the_undo_brings_back_the_very_bytes(node: PodNode) -> None:
    before = {path.name: path.read_bytes() for path in node.manifests.iterdir()}
    seen = node.observe("stop-etcd")
    node.act("stop-etcd")
    assert node.state("undo stop-etcd", seen) == "before"
    node.act("start-etcd")
    assert node.act("undo start-etcd").status == 0
    assert node.state("undo start-etcd") == "after" and not node.pids(node.etcd)
    assert node.act("undo stop-etcd", seen).status == 0
    assert node.state("undo stop-etcd", seen) == "after"
    assert {path.name: path.read_bytes() for path in node.manifests.iterdir()} == before
    assert node.act("undo stop-etcd", seen).status == 0
    assert {path.name: path.read_bytes() for path in node.manifests.iterdir()} == before


@pytest.mark.slow
def test_a_manifest_that_returns_is_noticed_and_never_lost(node: PodNode) -> None:
    seen = node.observe("stop-apiserver")
    original = manifest(node, node.one).read_text()
    node.act("stop-apiserver")
    node.write(node.one, more="# upgraded\n")
    node.wait_for(lambda: node.pids(node.one))
    found = node.observe("stop-apiserver")
    assert found["state"] == "before"
    news = f"the parked manifest of {node.one} is back in {node.manifests}"
    assert news == found["note"].strip() and news in found["why"]
    ran = node.act("stop-apiserver")
    assert ran.status == 0 and "had come back with different content: kept as" in ran.err
    assert node.state("stop-apiserver") == "after"
    (kept,) = (node.root / "work" / RUN / "returned").rglob("*.yaml.1")
    assert kept.read_text() == f"{original}# upgraded\n"
    node.write(node.one, more="# upgraded\n")
    assert node.act("undo stop-apiserver", seen).status == 0
    assert manifest(node, node.one).read_text() == original
    assert len(list((node.root / "work" / RUN / "returned").rglob("*.yaml.*"))) == 2


def test_the_same_manifest_again_is_just_parked_again(quick: PodNode) -> None:
    node = quick
    node.act("stop-etcd")
    node.write(node.etcd)
    assert node.state("stop-etcd") == "before"
    ran = node.act("stop-etcd")
    assert (ran.status, ran.err) == (0, "")
    assert node.state("stop-etcd") == "after"


def test_a_manifest_that_returns_while_it_is_waited_for(quick: PodNode) -> None:
    """Parked again at once: what is only stopped would start after we have gone."""
    node = quick
    keep = node.root / "late"
    keep.write_text(manifest(node, node.etcd).read_text())
    task = node.task("stop-etcd")
    assert task.act
    there = manifest(node, node.etcd)
    # As soon as it is parked: what comes after the proof is for the next step to see.
    back = (
        f"(while [ -e '{there}' ]; do sleep 0.05; done; mv '{keep}' '{there}') >/dev/null 2>&1 &\n"
    )
    ran = node.shell.body(back + task.act.body, node.env(task, {}))
    assert ran.status == 0
    assert node.state("stop-etcd") == "after"
    assert not keep.exists()


@pytest.mark.slow
def test_what_comes_back_once_is_waited_for(quick: PodNode) -> None:
    """A pod sync that was under way."""
    node = quick
    (node.root / "comes-back").write_text(node.etcd)
    assert node.act("stop-etcd").status == 0
    assert "came back" in node.log() and not node.pids(node.etcd)
    assert node.state("stop-etcd") == "after"


def test_a_copy_in_the_folder_is_a_pod_too(quick: PodNode) -> None:
    node = quick
    node.write(node.etcd, name="etcd.yaml.bak", more="# old\n")
    node.wait_for(lambda: len(node.pids(node.etcd)) == 2)
    seen = node.observe("stop-etcd")
    assert node.act("stop-etcd").status == 0
    assert node.visible() == {f"{node.one}.yaml", f"{node.two}.yaml"}
    assert node.act("undo stop-etcd", seen).status == 0
    assert "etcd.yaml.bak" in node.visible()


@pytest.mark.slow
def test_a_kubelet_that_ends_pods_is_left_alone(still: PodNode) -> None:
    """One that takes its time over the folders."""
    node = still
    node.patience = 30
    (node.root / "slow").touch()
    node.kubelet()
    for step in ("stop-apiserver", "stop-etcd"):
        assert node.act(step).status == 0
        assert node.state(step) == "after"
    assert len(node.kubelets) == 1


@pytest.mark.slow
def test_a_kubelet_that_ends_no_pod_is_started_anew(node: PodNode) -> None:
    """It has reached no apiserver since its own start: it knows the pods for ever."""
    node.deafen()
    before = {path.name: path.read_bytes() for path in node.manifests.iterdir()}
    seen = node.observe("stop-apiserver")
    ran = node.act("stop-apiserver")
    assert ran.status == 0 and "the kubelet did not stop the pods" in ran.err
    assert node.state("stop-apiserver") == "after"
    assert not node.pids(node.one) and not node.pids(node.two) and node.pids(node.etcd)
    assert len(node.kubelets) == 3
    assert node.act("stop-etcd").status == 0
    assert node.state("stop-etcd") == "after" and not node.pids(node.etcd)
    assert len(node.kubelets) == 4
    assert node.act("start-etcd").status == 0
    assert node.act("undo start-etcd").status == 0
    assert not node.pids(node.etcd)
    was_etcd = {"was": f"{node.etcd}:active,"}
    for step, was in (("undo stop-etcd", was_etcd), ("undo stop-apiserver", seen)):
        assert node.act(step, was).status == 0
        assert node.state(step, was) == "after"
    assert {path.name: path.read_bytes() for path in node.manifests.iterdir()} == before
    assert all(len(node.pids(unit)) == 1 for unit in (node.etcd, node.one, node.two))


@pytest.mark.slow
def test_a_manifest_that_returned_is_known_to_the_kubelet_of_now(quick: PodNode) -> None:
    """Not only to the one that was restarted for its sake."""
    node = quick
    node.deafen()
    assert node.act("stop-etcd").status == 0
    assert manager(node, f"forgotten {node.etcd}").status == 0
    node.write(node.etcd)
    node.wait_for(lambda: node.pids(node.etcd))
    assert manager(node, f"mgr_fence {node.etcd}").status == 0
    assert manager(node, f"forgotten {node.etcd}").status == 1
    assert node.act("stop-etcd").status == 0
    assert node.state("stop-etcd") == "after" and not node.pids(node.etcd)
    assert len(node.kubelets) == 4


@pytest.mark.slow
def test_a_pod_that_is_down_just_now_is_not_gone(quick: PodNode) -> None:
    """It fails and is started again and again, by a kubelet that does not let go of it."""
    node = quick
    node.deafen()
    for pid in node.pids(node.etcd):
        subprocess.run(["kill", "-9", pid], check=True)
    parked = node.root / "work/parked" / node.etcd
    assert manager(node, f"mgr_fence {node.etcd}").status == 0
    assert (parked / f"{node.etcd}.yaml").exists() and not node.pids(node.etcd)
    found = node.observe("stop-etcd")
    assert found["state"] == "before"
    assert f"the manifest of {node.etcd} is parked, but the kubelet still has" in found["why"]
    assert node.act("stop-etcd").status == 0
    assert node.state("stop-etcd") == "after" and len(node.kubelets) == 3


@pytest.mark.slow
def test_only_what_belongs_to_the_pod_is_ended(quick: PodNode) -> None:
    """A process of that name that is in no pod of ours."""
    node = quick
    node.deafen()
    program = str(node.root / "bin" / node.etcd)
    other = subprocess.Popen([node.etcd, "1000"], executable=program)
    cgroup = node.root / "proc" / str(other.pid) / "cgroup"
    cgroup.parent.mkdir()
    cgroup.write_text(f"0::/kubepods.slice/kubepods-pod{'f' * 32}.slice/cri-2.scope\n")
    try:
        assert node.act("stop-etcd").status == 0
        assert node.state("stop-etcd") == "after"
        assert other.poll() is None and node.pids(node.etcd) == [str(other.pid)]
    finally:
        other.kill()
        other.wait()


@pytest.mark.slow
def test_what_does_not_end_is_killed(quick: PodNode) -> None:
    node = quick
    (node.root / "stubborn").touch()
    assert manager(node, f"mgr_restart {node.etcd}").status == 0
    node.wait_for(lambda: (node.root / "kubelet.log").read_text().count(f"start {node.etcd}") == 2)
    node.deafen()
    ran = node.act("stop-etcd")
    assert ran.status == 0
    assert "did not stop within" not in ran.err  # nobody knows it: no grace is waited for
    assert node.state("stop-etcd") == "after" and not node.pids(node.etcd)


@pytest.mark.slow
def test_how_long_a_kubelet_is_waited_for(quick: PodNode) -> None:
    """One that is known to end pods gets the pods' own grace; one that was started in vain none."""
    node = quick
    assert manager(node, "patience").out == "3\n"
    node.act("stop-apiserver")
    assert manager(node, "patience").out == "75\n"
    node.deafen()
    assert manager(node, "patience").out == "3\n"
    node.act("stop-etcd")
    assert manager(node, "patience").out == "0\n"


@pytest.mark.parametrize("step", ["start-etcd", "undo stop-etcd"])
def test_a_restart_that_was_cut_off_is_mended(quick: PodNode, step: str) -> None:
    """Killed where the kubelet was stopped and not started again: the fence holds, and what starts
    the pod starts the kubelet."""
    node = quick
    seen = node.observe("stop-etcd")
    assert node.act("stop-etcd").status == 0
    (node.root / "work/kubelet-restarted").touch()
    node.ctl("stop")
    node.wait_for(lambda: manager(node, "kubelet_runs").status)
    assert node.state("stop-etcd") == "after"
    assert node.act(step, seen).status == 0
    assert node.state(step, seen) == "after"
    assert len(node.kubelets) == 2 and not (node.root / "work/kubelet-restarted").exists()


@pytest.mark.slow
def test_a_kubelet_that_the_inventory_does_not_name_is_left_to_its_own_pace(quick: PodNode) -> None:
    node = quick
    text = node.file.read_text()
    line = "  kubelet: {hosts: control_plane, units: [kubelet], manager: command}\n"
    assert line in text
    text = text.replace(line, "  kubelet: null\n")
    node.file.write_text(text.replace(f"[{node.etcd}]", f"[{node.etcd}], stop_seconds: null"))
    node.deafen()
    ran = node.act("stop-etcd", tries=12)
    assert ran.status == 1 and f"{node.etcd}:active" in ran.err
    (node.root / "deaf").unlink()
    assert node.act("stop-etcd").status == 0
    assert len(node.kubelets) == 2


def test_a_kubelet_of_another_user_is_none(quick: PodNode) -> None:
    """Whoever may run programs there may call one so, and would be waited for, or believed."""
    node = quick
    assert manager(node, "kubelet_pids").out == f"{node.kubelets[-1]}\n"
    stub = node.shell.bin / "id"
    stub.unlink(missing_ok=True)
    stub.write_text("#!/bin/sh\necho 4711\n")
    stub.chmod(0o755)
    assert manager(node, "kubelet_pids").out == ""
    assert node.state("stop-etcd") == "unknown"


def test_a_reboot_leaves_no_kubelet_that_knows(quick: PodNode) -> None:
    node = quick
    node.deafen()
    assert manager(node, f"mgr_fence {node.etcd}").status == 0
    assert manager(node, f"forgotten {node.etcd}").status == 1
    note = node.root / "work/parked" / node.etcd / ".kubelets"
    boot, pid, ticks = note.read_text().split()
    note.write_text(f"{boot[::-1]} {pid} {ticks}\n")
    assert manager(node, f"forgotten {node.etcd}").status == 0


def test_without_a_kubelet_nothing_is_known(still: PodNode) -> None:
    node = still
    for step in ("stop-etcd", "start-etcd", "undo stop-etcd"):
        seen = node.observe(step)
        assert seen["state"] == "unknown" and seen["why"].startswith("no kubelet runs here"), step
    assert facts(node)["manager"] == "the kubelet does not run"


def facts(node: PodNode) -> dict[str, str]:
    task = node.plan.step("facts").tasks[HOST]
    assert task.observe
    ran = node.shell.stdin(node.own(task.observe.body), node.env(task, {}))
    assert ran.status == 0, ran
    return dict(parse(ran.out))


def test_a_unit_needs_a_manifest(quick: PodNode) -> None:
    node = quick
    found = facts(node)
    assert (found["manager"], found["units_missing"]) == ("ok", "")
    node.act("stop-apiserver")
    assert facts(node)["units_missing"] == ""
    manifest(node, node.etcd).rename(node.root / "away.yaml")
    assert facts(node)["units_missing"] == node.etcd
    ran = node.act("start-etcd", tries=1)
    assert ran.status == 1 and f"no manifest of {node.etcd} in" in ran.err


def test_a_restart_is_another_process(quick: PodNode) -> None:
    node = quick
    (first,) = node.pids(node.one)
    assert manager(node, f"mgr_restart {node.one}").status == 0
    node.wait_for(lambda: node.pids(node.one) not in ([], [first]))


def test_a_process_in_another_network_is_another_pod(quick: PodNode) -> None:
    """An etcd or apiserver that somebody runs as a workload of this cluster."""
    node = quick
    program = str(node.root / "bin" / node.etcd)
    if subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode:
        pytest.skip("a network of its own needs root")
    own_name = f"import os; os.execv({program!r}, [{node.etcd!r}, '1000'])"
    other = subprocess.Popen(["unshare", "-n", sys.executable, "-c", own_name])
    node.wait_for(lambda: len(node.pids(node.etcd)) == 2)
    try:
        assert node.act("stop-etcd").status == 0
        assert node.state("stop-etcd") == "after" and other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after", "before, deaf"])
def test_killed_at_every_call(dash: Shell, tmp_path: Path, when: str) -> None:
    """Fence, start, fence and undo: no manifest is ever lost, the next try goes on."""
    node = PodNode(tmp_path / "n", dash)
    node.kubelet()
    when, _, deaf = when.partition(", ")
    if deaf:
        node.deafen()
    original = manifest(node, node.etcd).read_text()
    seen = node.observe("stop-etcd")
    try:
        for step in ("stop-etcd", "start-etcd", "undo start-etcd", "undo stop-etcd"):
            for n in range(1, 40):
                if not node.killed(step, f"{when} {n}", seen):
                    break
                texts = [p.read_text() for p in node.root.rglob(f"{node.etcd}.yaml")]
                assert any(original in (t, t.replace(MARK, "")) for t in texts), (step, n)
            assert node.state(step, seen) == "after", step
        assert manifest(node, node.etcd).read_text() == original
        assert not list((node.root / "work" / RUN).glob("returned/*"))
    finally:
        node.close()


FORMS = {
    "annotations:\n    a: b\n  name: x": 'annotations:\n    drctl/run: "R"\n    a: b\n  name: x',
    "name: x": 'annotations:\n    drctl/run: "R"\n  name: x',
    "annotations: {}\n  name: x": 'annotations:\n    drctl/run: "R"\n  name: x',
    "annotations: {a: b}\n  name: x": 'annotations: {drctl/run: "R", a: b}\n  name: x',
}


@pytest.mark.parametrize("form", FORMS)
def test_the_annotation(shell: Shell, tmp_path: Path, form: str) -> None:
    head, tail = "# a comment\nkind: Pod\nmetadata:\n  ", "\nspec:\n  annotations: mine\n"
    file = tmp_path / "m.yaml"
    file.write_text(f"{head}{form}{tail}")
    script = render("service/annotated.sh")
    once = shell.stdin(f"{script}\nannotated R {file}", {}).out
    assert once == f"{head}{FORMS[form]}{tail}"
    file.write_text(once)
    assert shell.stdin(f"{script}\nannotated S {file}", {}).out == once.replace('"R"', '"S"')
    plain = shell.stdin(f"{script}\nannotated '' {file}", {}).out
    assert "drctl" not in plain and plain.endswith(tail)


def test_what_is_not_written_in_blocks_stays_as_it_is(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "m.json"
    file.write_text('{"metadata": {"name": "x"}}\n')
    script = f"{render('service/annotated.sh')}\nannotated R {file}"
    assert shell.stdin(script, {}).out == file.read_text()


PODS = [
    ("  - command:\n    - /bin/p\n    name: c\n", "c"),
    ('  - name: "c"  # x\n    command: [p]\n  - name: d\n', "c\nd"),
    (
        "    - livenessProbe:\n        exec:\n          command:\n          - name: no\n"
        "      name: c\n",
        "c",
    ),
    (
        "  - env:\n    - name: NO\n    args: [x]\n    name: c\n"
        "  hostNetwork: true\n  volumes:\n  - name: no\n",
        "c",
    ),
]


@pytest.mark.parametrize(("lines", "names"), PODS, ids=["command", "two", "probe", "env"])
def test_the_containers_of_a_pod(still: PodNode, lines: str, names: str) -> None:
    text = f"metadata:\n  name: u\nspec:\n  initContainers:\n  - name: no\n  containers:\n{lines}"
    (still.manifests / "some-name.yaml").write_text(text)
    assert manager(still, "names_of u").out == f"{names}\n"


def test_a_program_is_told_by_its_pod(quick: PodNode) -> None:
    """A shell that runs it, a probe's command before it: no name of a program tells."""
    node = quick
    wrapped = node.etcd.replace("etcd", "sh")
    (node.root / "bin" / wrapped).symlink_to(shutil.which("sleep") or "")
    text = manifest(node, node.etcd).read_text()
    manifest(node, node.etcd).write_text(text.replace(f"    - {node.etcd}\n", f"    - {wrapped}\n"))
    node.wait_for(lambda: node.pids(wrapped))
    assert node.observe("stop-etcd")["was"] == f"{node.etcd}:active,"
    assert node.act("stop-etcd").status == 0
    assert node.state("stop-etcd") == "after" and not node.pids(wrapped)
    assert node.act("start-etcd").status == 0
    assert node.state("start-etcd") == "after" and node.pids(wrapped)
    for pid in node.pids(wrapped):
        os.kill(int(pid), signal.SIGKILL)


def test_a_process_of_that_name_in_no_pod_is_not_gone(quick: PodNode) -> None:
    node = quick
    other = subprocess.Popen([node.etcd, "1000"], executable=node.root / "bin" / node.etcd)
    try:
        ran = node.act("stop-etcd", tries=6)
        assert ran.status == 1 and f"not gone in time: {node.etcd}:active" in ran.err
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.slow
def test_what_does_not_stop_in_time_is_killed(quick: PodNode) -> None:
    """By a kubelet that would give it half a minute."""
    node = quick
    node.file.write_text(
        node.file.read_text().replace(
            f"units: [{node.etcd}]", f"units: [{node.etcd}], stop_seconds: 1"
        )
    )
    (node.root / "stubborn").touch()
    assert manager(node, f"mgr_restart {node.etcd}").status == 0
    node.wait_for(lambda: (node.root / "kubelet.log").read_text().count(f"start {node.etcd}") == 2)
    ran = node.act("stop-etcd")
    assert ran.status == 0 and f"{node.etcd} did not stop within 1.0 s: killed" in ran.err
    assert node.state("stop-etcd") == "after" and not node.pids(node.etcd)
    assert len(node.kubelets) == 1


def test_a_machine_that_is_coming_up_is_waited_for(still: PodNode) -> None:
    """Its kubelet is not there yet."""
    node = still
    task = node.task("stop-etcd")
    assert task.observe
    text = task.observe.body.replace("-lt 0 ]", "-lt 1000000000 ]")
    assert text != task.observe.body
    asked = node.shell.start(text, node.env(task, {}))
    time.sleep(1)
    assert asked.poll() is None
    node.kubelet()
    out, _ = asked.communicate(timeout=30)
    assert "state=before" in out
