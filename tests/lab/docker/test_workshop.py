"""What is built in a container: all of it or nothing, by one at a time, gone with its asker."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from docker import DockerClient
from docker.models.containers import Container

from drctl.errors import StepFailed
from drctl.lab.docker import kubernetes, workshop

PROGRAMS = " ".join(kubernetes.BUILT)
# The product's own build with another recipe: programs that only tell a version, made once the
# test says so.
RECIPE = rf"""
set -eu
cd /build
until [ -e go ]; do sleep 0.1; done
for name in {PROGRAMS}; do
  printf '#!/bin/sh\necho Kubernetes v1.20.2\n' >$name
  chmod 755 $name
done
sha256sum {PROGRAMS} >SHA256SUMS
tar -c {PROGRAMS} SHA256SUMS >&4
"""
BUILD = f"""
import sys
from drctl.lab.docker import kubernetes
kubernetes.recipe = lambda: {RECIPE!r}
kubernetes.built(lambda: sys.argv[1], lambda text: print(text, flush=True))
"""


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("DRCTL_CACHE_DIR", str(folder))
    monkeypatch.setattr(kubernetes, "recipe", lambda: RECIPE)
    return folder


@pytest.fixture
def containers(docker_client: DockerClient, cache: Path) -> Callable[[], list[Container]]:
    """Those of this test's builds."""
    label = f"{workshop.LABEL}={kubernetes.cached()}"
    return lambda: docker_client.containers.list(
        all=True, ignore_removed=True, filters={"label": label}
    )


def started(image: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", BUILD, image]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def let_go(containers: Callable[[], list[Container]]) -> None:
    until(lambda: any(each.status == "running" for each in containers()))
    (container,) = containers()
    container.exec_run("touch /build/go")


def test_of_two_builds_at_once_one_works_and_both_have_it(
    systemd_image: str, cache: Path, containers: Callable[[], list[Container]]
) -> None:
    first = started(systemd_image)
    until(lambda: bool(containers()))
    second = started(systemd_image)
    assert second.stdout
    assert second.stdout.readline() == "another process is building Kubernetes: waiting for it\n"
    let_go(containers)
    told = [process.communicate(timeout=120)[0] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0]
    assert "Kubernetes built in" in told[0] and told[1] == ""
    assert kubernetes.given(kubernetes.cached(), kubernetes.WITH_KUBELET).text == "v1.20.2"
    assert {path.suffix for path in cache.iterdir()} == {"", ".lock"}


def test_a_killed_build_leaves_nothing_and_the_next_one_works(
    systemd_image: str, cache: Path, containers: Callable[[], list[Container]]
) -> None:
    dying = started(systemd_image)
    until(lambda: bool(containers()))
    dying.kill()
    dying.communicate()
    until(lambda: not containers())
    assert not kubernetes.cached().exists()
    after = started(systemd_image)
    let_go(containers)
    after.communicate(timeout=120)
    assert after.returncode == 0 and kubernetes.cached().exists()
    assert not list(cache.glob(".*")), "the killed build's folder is still there"


@pytest.mark.parametrize(
    ("script", "seconds", "said"),
    [
        ("echo it broke; exit 3", 60, "ended with 3\nit broke"),
        ("sleep 60", 2, "took longer than 2 s"),
        ("tar -c /etc | head -c 9000 >&4", 60, "cut short"),
    ],
)
def test_a_failure_says_why_and_gives_no_file(
    systemd_image: str, tmp_path: Path, script: str, seconds: float, said: str
) -> None:
    with pytest.raises(StepFailed, match=said):
        workshop.make(systemd_image, script, tmp_path, say=lambda text: None, seconds=seconds)
