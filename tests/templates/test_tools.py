"""Where etcdctl and etcdutl come from: etcd/tool/*, with the real programs.

A stand-in for `ctr` runs the program that the image would hold; what it was told is looked at. The
real `ctr` is used where nodes have containerd (the static-pod lab).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from drctl.engine.acting import SENT
from drctl.lab import binaries
from drctl.plan.model import Task
from tests.etcd.samples import snapshot_bytes
from tests.templates.layouts import sha256
from tests.templates.node import RUN, Node
from tests.templates.pods import MANIFEST
from tests.templates.shells import Shell

_CTR = """#!/bin/sh
for word in "$@"; do printf '%s\\n' "$word" >> '{root}/told'; done
echo >> '{root}/told'
case "$*" in
  *" run "*) while [ "${{1#nobody.local/}}" = "$1" ]; do shift; done; shift 2; tool=$1; shift
    exec '{tools}/'"$tool" "$@" ;;
  *"images ls"*) [ ! -e '{root}/stopped' ] || exit 1
    [ -e '{root}/absent' ] || echo "${{5#name==}}" ;;
  *"containers ls"*) cat '{root}/left' 2>/dev/null ;;
esac
"""
FILES = ("etcd", "etcdctl", "etcdutl")


class ToolNode(Node):
    """The inventory says `etcd: {LINES}`."""

    def __init__(self, root: Path, shell: Shell, etcd_dir: Path, lines: str) -> None:
        super().__init__(root, shell, sha256=sha256(snapshot_bytes()), wal=True)
        text = self.file.read_text().replace("etcd:\n  bin_dir", f"etcd:\n{lines}  bin_dir", 1)
        text = text.replace("units: [etcd]}", "units: [etcd], manager: static-pod}")
        text += f"kubernetes: {{manifests: {root}/manifests}}\n"
        self.file.write_text(text)
        for folder in ("manifests", "image"):
            (root / folder).mkdir()
        (root / "manifests/etcd.yaml").write_text(MANIFEST.format(unit="etcd", program="etcd"))
        binaries.install(etcd_dir, root / "shared", [root / "image"])
        (shell.bin / "ctr").write_text(_CTR.format(root=root, tools=root / "image"))
        (shell.bin / "ctr").chmod(0o755)
        self.stage.mkdir(parents=True)
        (self.stage / "snapshot.db").write_bytes(snapshot_bytes())

    @property
    def sent(self) -> Path:
        """Where what is sent lies: in a look's folder, or in the run's."""
        return self.root / "work" / RUN

    def env(self, task: Task, seen: Mapping[str, str]) -> dict[str, str]:
        return {SENT: str(self.sent), **super().env(task, seen)}

    def send(self) -> Path:
        """What the engine does before a script that needs a file."""
        task = self.task("facts")
        ((place, source),) = task.sources.items()
        target = self.sent / place.removeprefix("run ")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
        target.chmod(0o600)
        return target

    def told(self) -> list[list[str]]:
        """Every call of ctr, word by word."""
        file = self.root / "told"
        calls = file.read_text().split("\n\n") if file.exists() else []
        return [call.splitlines() for call in calls if call.strip()]


@pytest.fixture
def image(shell: Shell, tmp_path: Path, etcd_dir: Path) -> ToolNode:
    return ToolNode(tmp_path / "n", shell, etcd_dir, "  tools: image\n")


@pytest.fixture
def upload(shell: Shell, tmp_path: Path, etcd_dir: Path) -> ToolNode:
    lines = f"  etcdutl: {tmp_path}/n/image/etcdutl\n"
    return ToolNode(tmp_path / "n", shell, etcd_dir, lines)


def test_out_of_the_image_that_the_manifest_names(image: ToolNode, etcd_dir: Path) -> None:
    found = image.observe("facts")
    version = ".".join(map(str, binaries.version(etcd_dir / "etcd")))
    assert [found[f"{tool}_version"] for tool in FILES] == [version] * 3
    assert "initial-cluster-token" in found["restore_flags"].split()
    runs = [call for call in image.told() if "run" in call]
    names = [call[call.index("nobody.local/etcd:9") + 1] for call in runs]
    assert len(set(names)) == len(names) == 4  # a name is never used twice
    assert all("--rm" in call and f"drctl.run={RUN}" in call for call in runs)
    image.act("stop-etcd", tries=1)  # parked, it still names the image
    assert image.observe("facts")["etcdutl_version"] == version


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("stopped", "containerd does not answer"),
        ("absent", "the image nobody.local/etcd:9 is not on this host"),
        ("no manifest", "no manifest of etcd in "),
    ],
)
def test_why_nothing_runs_from_the_image(image: ToolNode, how: str, words: str) -> None:
    """Each by its name, and asked once."""
    (image.root / how).touch()
    if how == "no manifest":
        (image.root / "manifests/etcd.yaml").unlink()
    found = image.observe("facts")
    assert words in found["image_missing"] and not found["etcd_version"]
    assert not [call for call in image.told() if "run" in call]
    assert len([call for call in image.told() if "images" in call]) == (how != "no manifest")
    assert words in image.act("rebuild").err


def test_a_member_rebuilt_out_of_the_image(image: ToolNode) -> None:
    assert image.act("rebuild").status == 0
    assert image.state("rebuild") == "after"
    (call,) = [call for call in image.told() if "run" in call]
    mounts = [call[n + 1] for n, word in enumerate(call) if word == "--mount"]
    assert mounts == [
        f"type=bind,src={place},dst={place},options=rbind:rw"
        for place in (image.wal_stage, image.stage)
    ]
    assert (image.stage / "new/etcd/member/snap/db").is_file()


def test_what_was_killed_is_ended_before_a_new_try(image: ToolNode) -> None:
    (image.root / "left").write_text("drctl-1\n")
    assert image.act("rebuild").status == 0
    asked, ended, removed, run = [call for call in image.told() if "images" not in call]
    assert asked[-1] == f'labels."drctl.run"=="{RUN}"'
    assert (ended[2:], removed[2:]) == (
        ["tasks", "rm", "-f", "drctl-1"],
        ["containers", "rm", "drctl-1"],
    )
    assert "run" in run


def test_no_image_is_no_tool(image: ToolNode) -> None:
    (image.root / "manifests/etcd.yaml").unlink()
    found = image.observe("facts")
    assert [found[f"{tool}_version"] for tool in FILES] == ["", "", ""]
    ran = image.act("rebuild")
    assert ran.status and "no manifest of etcd in " in ran.err and "names an image" in ran.err


def test_the_member_is_asked_with_its_certificates(
    dash: Shell, tmp_path: Path, etcd_dir: Path
) -> None:
    node = ToolNode(tmp_path / "n", dash, etcd_dir, "  tools: image\n  image: nobody.local/e:1\n")
    text = node.file.read_text().replace('client_url: "http:', 'client_url: "https:')
    node.file.write_text(
        text.replace("  bin_dir", "  tls: {ca: /p/ca, cert: /p/c, key: /q/k}\n  bin_dir")
    )
    node.observe("identity")
    call = next(call for call in node.told() if "run" in call)
    mounts = [call[n + 1] for n, word in enumerate(call) if word == "--mount"]
    assert mounts == [f"type=bind,src={d},dst={d},options=rbind:ro" for d in ("/q", "/p")]
    assert "nobody.local/e:1" in call


def test_sent_verified_used_and_gone(upload: ToolNode, etcd_dir: Path) -> None:
    target = upload.send()
    found = upload.observe("facts")
    assert found["etcdutl_version"] == ".".join(map(str, binaries.version(etcd_dir / "etcd")))
    assert not target.parent.exists()
    target = upload.send()
    assert upload.act("rebuild").status == 0
    assert upload.state("rebuild") == "after" and not target.exists()


def test_another_file_is_not_run(upload: ToolNode) -> None:
    target = upload.send()
    target.write_bytes(b"#!/bin/sh\ntouch /tmp/never\n")
    ran = upload.act("rebuild")
    assert ran.status == 1 and "the etcdutl that was sent does not match" in ran.err
    assert not target.exists() and upload.state("rebuild") == "before"
    assert upload.act("rebuild").status == 1  # nor is nothing


def test_what_a_kill_left_is_cleaned(upload: ToolNode) -> None:
    target = upload.send()
    assert upload.state("clean") == "before"
    assert upload.act("clean").status == 0
    assert not target.exists() and upload.state("clean") == "after"
