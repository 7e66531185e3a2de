"""The embedded lab as a site: hosts that are switched off and on, parts that are killed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from drctl.drill import breaking, scenario, witness
from drctl.drill.context import Scene
from drctl.drill.expectation import Expectation, Seen, judged
from drctl.drill.operator import Operator
from drctl.drill.proofs import PROOFS
from drctl.errors import Refused, StepFailed
from drctl.lab import layout, processes
from drctl.lab.local import driver
from drctl.lab.local.site import LocalSite
from drctl.lab.waiting import until
from tests.support.labs import quiet

pytestmark = pytest.mark.lab


@pytest.fixture
def site(tmp_path: Path, etcd_dir: Path) -> Iterator[LocalSite]:
    directory = tmp_path / "lab"
    driver.up(directory, etcd=etcd_dir, keys=5, say=quiet, ssh_server="asyncssh")
    yield LocalSite(directory)
    driver.down(directory, quiet)


def answers(site: LocalSite, name: str) -> bool:
    (node,) = (one for one in site.nodes if one.name == name)
    return witness.answers(site, node)


def test_a_host_is_off_and_on_again_and_nothing_of_it_runs_meanwhile(site: LocalSite) -> None:
    site.sh("node-3", "echo $PWD > here; sleep 300 >/dev/null 2>&1 &")
    site.power_off("node-3")
    lab = layout.require(site.directory)
    mark = f"{lab.id}/node-3"
    assert not processes.belonging([], mark, marker=processes.NODE_MARKER)
    assert not answers(site, "node-3")
    # Two of three are a quorum; where the leader is gone with its host, they elect another first.
    until(partial(answers, site, "node-1"), 60, "two of three")
    site.power_on("node-3")
    until(partial(answers, site, "node-3"), 60, "node-3")
    assert driver.is_up(site.directory)


def test_parts_are_killed_stopped_and_started(site: LocalSite) -> None:
    site.stop("node-2", "etcd")
    assert not answers(site, "node-2")
    site.start("node-2", "etcd")
    until(partial(answers, site, "node-2"), 60, "node-2")
    site.kill("node-2", "etcd")
    until(partial(answers, site, "node-2"), 60, "its supervisor starts it again")
    with pytest.raises(Refused, match="cannot be cut"):
        site.cut("node-1", ["node-2"])
    with pytest.raises(Refused, match="no kubelet"):
        site.stop("node-1", "kubelet")
    with pytest.raises(StepFailed, match="ended with 3"):
        site.sh("node-1", "exit 3")
    assert site.sh("node-1", "echo said; exit 3", check=False).output == "said\n"


def test_where_etcd_asks_for_a_user_the_witness_has_one(site: LocalSite) -> None:
    assert breaking.strike(site, "enable-auth", say=quiet) == ["node-1"]
    user = json.loads((site.directory / witness.USER_FILE).read_text())
    assert user["name"] == "kubernetes"
    scene = Scene(site, Operator(site.inventory, site.directory / "state", quiet), quiet)
    proof = judged("auth-still-on", PROOFS["auth-still-on"], scene)
    assert proof.ok, proof.detail
    for node in scene.members:
        until(partial(witness.answers, site, node), 60, node.name)
    with witness.gateway(site, scene.members[0]) as door:
        door.call("/v3/auth/disable", {})
    off = judged("auth-still-on", PROOFS["auth-still-on"], scene, patience=0.0)
    assert not off.ok


def test_what_is_untouched_and_what_is_not(site: LocalSite) -> None:
    scene = Scene(site, Operator(site.inventory, site.directory / "state", quiet), quiet)
    scene.later = witness.look(site, scene.members[0])
    scene.footprints = scene.footprint()
    assert judged("untouched", PROOFS["untouched"], scene).ok
    with witness.gateway(site, scene.members[0]) as door:
        door.put_all([("/registry/more", b"written by others meanwhile")])
    assert judged("untouched", PROOFS["untouched"], scene).ok
    Path(scene.members[1].data_dir + ".drctl").mkdir()
    trace = judged("untouched", PROOFS["untouched"], scene, patience=0.0)
    assert (trace.ok, "node-2" in trace.detail) == (False, True)


def test_what_is_expected_is_asked_for_until_it_holds(site: LocalSite) -> None:
    seen = iter([False, True])
    expectation = Expectation("it settles", lambda _: Seen(next(seen), ""))
    scene = Scene(site, Operator(site.inventory, site.directory / "state", quiet), quiet)
    assert judged("settles", expectation, scene).ok
    assert scenario.chosen("majority", site.nodes) == site.nodes[:2]
