"""Which Kubernetes a lab takes: what is asked of a folder, without any of them running."""

from __future__ import annotations

from pathlib import Path

import pytest

from drctl.errors import InvalidInput
from drctl.lab.docker import kubernetes
from drctl.lab.docker.kubernetes import CONTROL_PLANE, WITH_KUBELET


def release(folder: Path, versions: dict[str, str]) -> Path:
    """Programs that only tell a version, each in the way of the real one."""
    folder.mkdir()
    for name, version in versions.items():
        asked = "version -o short" if name == "kubeadm" else "--version"
        program = folder / name
        program.write_text(f'#!/bin/sh\n[ "$*" = "{asked}" ] && echo "Kubernetes {version}"\n')
        program.chmod(0o755)
    return folder


def test_a_release_is_taken_with_its_version(tmp_path: Path) -> None:
    folder = release(tmp_path / "r", dict.fromkeys(WITH_KUBELET, "v1.29.3"))
    found = kubernetes.given(folder, WITH_KUBELET)
    assert (found.directory, found.version, found.text) == (folder, (1, 29, 3), "v1.29.3")


def test_only_what_the_lab_runs_must_be_there(tmp_path: Path) -> None:
    folder = release(tmp_path / "r", dict.fromkeys(CONTROL_PLANE, "v1.20.2"))
    assert kubernetes.given(folder).version == (1, 20, 2)
    with pytest.raises(InvalidInput, match="missing kubelet, kubeadm"):
        kubernetes.given(folder, WITH_KUBELET)


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        (["v1.20.2", "v1.20.2", "v1.21.0"], "mixes versions: .*kube-scheduler 1.21.0"),
        (["v1.19.9"] * 3, "holds Kubernetes 1.19.9"),
        (["unknown"] * 3, "does not report its version: 'Kubernetes unknown'"),
    ],
)
def test_programs_that_do_not_do(tmp_path: Path, versions: list[str], said: str) -> None:
    folder = release(tmp_path / "r", dict(zip(CONTROL_PLANE, versions, strict=True)))
    with pytest.raises(InvalidInput, match=said):
        kubernetes.given(folder)


def test_a_program_for_another_machine_is_named(tmp_path: Path) -> None:
    folder = release(tmp_path / "r", dict.fromkeys(CONTROL_PLANE, "v1.20.2"))
    (folder / "kube-apiserver").write_bytes(b"\x7fELF of another processor")
    with pytest.raises(InvalidInput, match="kube-apiserver does not run on this machine"):
        kubernetes.given(folder)


def test_where_a_build_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DRCTL_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert kubernetes.cache_directory() == Path("/x/drctl")
    monkeypatch.setenv("DRCTL_CACHE_DIR", "/var/cache/drctl")
    assert kubernetes.cache_directory() == Path("/var/cache/drctl")


def test_what_is_built_is_taken_from_the_cache_without_docker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRCTL_CACHE_DIR", str(tmp_path))
    release(kubernetes.cached(), dict.fromkeys(WITH_KUBELET, "v1.20.2"))
    tmp_path.chmod(0o555)  # as another user's cache

    def no_image() -> str:
        raise AssertionError("it was about to build")

    found = kubernetes.built(no_image, lambda text: None)
    assert found.directory == kubernetes.cached()
    tmp_path.chmod(0o755)
