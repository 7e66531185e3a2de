"""On the embedded lab: a host freezes without a word on the wire, in the middle of a run (I11)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from drctl.lab import layout
from drctl.lab.local import driver
from tests.campaign import deeds
from tests.campaign.scene import Scene
from tests.support.labs import content, quiet
from tests.support.operator import Operator

pytestmark = pytest.mark.lab


@pytest.fixture
def scene(tmp_path: Path, etcd_dir: Path) -> Iterator[Scene]:
    directory = tmp_path / "lab"
    driver.up(directory, etcd=etcd_dir, keys=50, value_size=64, say=quiet)
    yield Scene("local", directory, "node-2", tmp_path / "state")
    driver.down(directory, quiet)


def test_a_frozen_host_ends_the_run_with_its_name_the_step_and_what_to_type(scene: Scene) -> None:
    operator: Operator = scene.operator
    snapshot = operator.backup(scene.directory.with_name("backup"))
    saved = content(layout.require(scene.directory))
    freeze = [sys.executable, "-m", "tests.campaign.kinds", "peer-frozen", "local"]
    freeze += [str(scene.directory), scene.host, str(scene.state)]
    try:
        frozen = operator.restore(
            snapshot, "--replace-healthy", at="step-done stop-etcd", do=" ".join(freeze)
        )
    finally:
        deeds.peer_thawed(scene)
    assert frozen.returncode == 5, frozen.stderr
    assert "node-2" in frozen.stderr
    assert "send" in frozen.stderr
    assert "drctl restore --resume" in frozen.stderr
    run = operator.last_run()
    assert run["error"]["host"] == "node-2"
    resumed = operator.resume()
    assert resumed.returncode == 0, resumed.stderr
    assert content(layout.require(scene.directory)) == saved
