"""What keeps a systemd unit from starting, and what only seems to.

The fence is the product's own (templates/service/managers/systemd.sh.j2), on units whose files lie
in /etc/systemd/system, where kubeasz and most installations by hand put them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from drctl.render import render
from tests.lab.docker.nodes import Node, Nodes, Ran

WORK = "/var/lib/drctl"
PLAIN = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
RESTARTING = PLAIN.replace("[Install]", "Restart=always\nRestartSec=100ms\n[Install]")
SOON = "OnActiveSec=100ms\nAccuracySec=1ms"
TIMER = f"[Timer]\n{SOON}\nUnit={{job}}\n[Install]\nWantedBy=timers.target\n"
JOB = "[Service]\nType=oneshot\nExecStart=/bin/touch /run/{name}-ran\n"


@dataclass(frozen=True)
class Unit:
    """A unit on a node, with the verbs of the product's service manager."""

    node: Node
    name: str  # "fenced-plain.service"

    def verb(self, verb: str) -> Ran:
        """Run mgr_VERB of the product's template on it (a fence: and let systemd hear of it)."""
        manager = render("service/managers/systemd.sh")
        names = f"DRCTL_WORK={WORK}\nDRCTL_RUN=test\n"
        heard = " && mgr_heed" if verb == "fence" else ""
        return self.node.sh(f"{names}{manager}\nmgr_{verb} {self.name}{heard}\n", check=False)

    def systemctl(self, verb: str) -> Ran:
        """Run `systemctl VERB UNIT`."""
        return self.node.sh(f"systemctl {verb} {self.name}", check=False)

    @property
    def state(self) -> str:
        return self.node.state(self.name)


@pytest.fixture(scope="module")
def rebooting(systemd_node: Nodes) -> Iterator[Node]:
    """A node of this module's own, as its tests reboot it."""
    node = systemd_node("fences")
    yield node
    node.remove()


of_each_kind = pytest.mark.parametrize(
    "unit", ["restarting.service", "periodic.timer"], indirect=True
)


@pytest.fixture
def unit(rebooting: Node, request: pytest.FixtureRequest) -> Iterator[Unit]:
    """An enabled, running unit: a service with Restart=always unless the test is `of_each_kind`."""
    name: str = getattr(request, "param", "restarting.service")
    body = RESTARTING
    if name.endswith(".timer"):
        rebooting.put("/etc/systemd/system/job.service", JOB.format(name="job"))
        body = TIMER.format(job="job.service")
    rebooting.put(f"/etc/systemd/system/{name}", body)
    rebooting.sh(f"systemctl daemon-reload && systemctl enable --quiet --now {name}")
    made = Unit(rebooting, name)
    assert made.state == "active"
    yield made
    made.verb("unfence")
    rebooting.sh(
        f"systemctl disable --quiet --now {name}; rm -rf /etc/systemd/system/{name}*"
        " /etc/systemd/system/job.service; systemctl daemon-reload"
    )


@of_each_kind
def test_mask_is_no_fence_for_a_unit_in_etc(unit: Unit) -> None:
    masked = unit.systemctl("mask")
    assert masked.status != 0 and "already exists" in masked.output


def test_mask_runtime_succeeds_and_fences_nothing(unit: Unit) -> None:
    unit.systemctl("stop")
    assert unit.systemctl("mask --runtime").status == 0
    try:
        assert unit.systemctl("start").status == 0
        assert unit.state == "active"
    finally:
        unit.systemctl("unmask --runtime")


def test_a_condition_instead_of_an_assertion_would_look_like_success(unit: Unit) -> None:
    unit.systemctl("stop")
    folder = f"/etc/systemd/system/{unit.name}.d"
    unit.node.put(f"{folder}/condition.conf", "[Unit]\nConditionPathExists=/nowhere\n")
    unit.node.sh("systemctl daemon-reload")
    assert unit.systemctl("start").status == 0
    assert unit.state == "inactive"


@of_each_kind
def test_a_fenced_unit_cannot_be_started(unit: Unit) -> None:
    assert unit.verb("fence") == Ran(0, "")
    assert unit.verb("fenced").status == 0
    assert unit.state == "active"  # a fence stops nothing by itself
    assert unit.verb("stop").status == 0
    for verb in ("start", "restart", "reload-or-restart"):
        refused = unit.systemctl(verb)
        assert refused.status == 1 and "Assertion failed" in refused.output, verb
    assert unit.state == "inactive"


def test_a_start_without_waiting_reports_success_and_starts_nothing(unit: Unit) -> None:
    unit.verb("fence")
    unit.verb("stop")
    assert unit.systemctl("start --no-block").status == 0
    assert unit.node.sh("sleep 1").status == 0
    assert unit.state == "inactive"


def test_a_unit_that_needs_a_fenced_one_does_not_pull_it_in(unit: Unit) -> None:
    unit.verb("fence")
    unit.verb("stop")
    unit.node.put("/run/systemd/system/puller.service", PLAIN.replace("infinity", "1"))
    unit.node.put(
        "/run/systemd/system/puller.service.d/needs.conf",
        f"[Unit]\nRequires={unit.name}\nAfter={unit.name}\n",
    )
    unit.node.sh("systemctl daemon-reload")
    assert unit.node.sh("systemctl start puller.service", check=False).status == 1
    assert unit.state == "inactive"


@of_each_kind
def test_a_fence_outlives_a_reboot(unit: Unit) -> None:
    unit.verb("fence")
    unit.verb("stop")
    unit.node.reboot()
    assert unit.systemctl("is-enabled").output == "enabled\n"
    assert unit.state == "inactive"
    assert unit.verb("fenced").status == 0
    assert unit.systemctl("start").status == 1


def test_a_unit_fenced_and_not_stopped_stays_away_after_a_reboot(unit: Unit) -> None:
    unit.verb("fence")
    unit.node.reboot()
    assert unit.state == "inactive"


@of_each_kind
def test_a_fence_leaves_nothing_behind(unit: Unit) -> None:
    unit.verb("fence")
    unit.verb("stop")
    assert unit.verb("unfence") == Ran(0, "")
    assert unit.verb("fenced").status != 0
    left = unit.node.sh(f"ls -d /etc/systemd/system/{unit.name}.d {WORK}/fence/*", check=False)
    assert left.status != 0
    assert unit.systemctl("start").status == 0
    assert unit.state == "active"


def test_restart_always_does_not_pass_the_fence(unit: Unit) -> None:
    unit.systemctl("kill --signal=KILL")
    unit.node.sh(f"sleep 0.5; timeout 20 sh -c 'until systemctl is-active {unit.name}; do :; done'")
    unit.verb("fence")
    unit.systemctl("kill --signal=KILL")
    unit.node.sh(
        f"timeout 60 sh -c 'until [ $(systemctl is-active {unit.name}) = inactive ]; do :; done'"
    )
    unit.node.sh("sleep 1")
    assert unit.state == "inactive"


def test_a_timer_does_not_get_past_the_fence_of_its_service(rebooting: Node) -> None:
    rebooting.put("/etc/systemd/system/late.service", JOB.format(name="late"))
    rebooting.put("/run/systemd/system/late.timer", TIMER.format(job="late.service"))
    late = Unit(rebooting, "late.service")
    late.verb("fence")
    rebooting.sh("systemctl start late.timer && sleep 1.5")
    assert rebooting.sh("test -e /run/late-ran", check=False).status == 1
    late.verb("unfence")
    rebooting.sh("systemctl restart late.timer")
    rebooting.sh("timeout 60 sh -c 'until test -e /run/late-ran; do sleep 0.1; done'")
    rebooting.sh("systemctl stop late.timer; rm /etc/systemd/system/late.service")
