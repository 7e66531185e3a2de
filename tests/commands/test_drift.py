"""I8: what may not differ between two sessions of a run. Each field by its name, with the old and
the new value, before any change; and each can be accepted, by name, in the journal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drctl import __version__
from drctl.errors import HostKeyChanged
from drctl.inventory import Inventory, load_inventory
from drctl.plan import planner
from drctl.plan.runbook import shipped_runbooks
from drctl.render import template_digest
from tests.commands.test_resume import FAILED
from tests.model.harness import INVENTORY
from tests.support.bench import Bench
from tests.support.forging import forge
from tests.support.rig import READ_ONLY

FIELDS = tuple(
    name
    for name in load_inventory(INVENTORY).meaning()
    if not name.startswith(("hosts.m3.", "members.m2.", "members.m3."))  # the same code again
)

NOT_DRIFT = [
    ("{user: root}", "{user: admin, become: none}"),
    ("{user: root}", "{user: root, port: 2222}"),
    ("m3: {address: 127.0.0.13}", "m3: {address: 127.0.0.13, jump: m1}"),
    ("workers: [w1]", "workers: [w1]\noptions: {settle_seconds: 1}"),
    ("workers: [w1]", "workers: [w1]\netcd: {bin_dir: /opt/bin}"),
]
"""How a host is reached may change during a run: a bastion that burnt down must not bar a resume.
So may where the programs lie, and how long a stopped service is watched."""


@pytest.fixture
def broken(down: Bench) -> Bench:
    """A run that failed at `swap` on m2, after everything was stopped."""
    down.rig.trouble("job/start", FAILED, step="swap", host="m2")
    assert down.restore().exit == 5
    return down


@pytest.fixture(params=FIELDS)
def drifting(request: pytest.FixtureRequest, broken: Bench) -> tuple[Bench, str]:
    """The inventory means something else in one field."""
    honest, name = Inventory.meaning, request.param
    broken.monkeypatch.setattr(
        Inventory, "meaning", lambda inventory: {**honest(inventory), name: "something else"}
    )
    return broken, name


@pytest.mark.slow
def test_every_field_is_refused_by_name_and_can_be_accepted_by_name(
    drifting: tuple[Bench, str],
) -> None:
    bench, field = drifting
    before, calls = bench.rig.conditions(), len(bench.rig.calls)
    events = len(bench.events("session"))
    was = load_inventory(INVENTORY).meaning  # what the run began with, not what it is told now
    ended = bench.resume("--output", "json")
    assert (ended.exit, ended.error["code"]) == (6, "drifted")
    said = next(x for x in ended.error["message"].splitlines() if x.startswith(f"  {field}: was"))
    assert said.endswith("is 'something else'")
    assert was()[field] == "something else"  # the test does change what it says it changes
    assert f"--accept-drift {field}" in ended.error["hint"]
    assert (bench.rig.conditions(), len(bench.rig.calls)) == (before, calls)
    assert len(bench.events("session")) == events
    assert bench.rollback().exit == 6
    assert bench.resume("--accept-drift", field).exit == 0
    (accepted,) = bench.events("drift-accepted")
    assert list(accepted["fields"]) == [field]
    assert accepted["fields"][field][1] == "something else"


@pytest.mark.parametrize(("old", "new"), NOT_DRIFT)
def test_what_is_no_drift(broken: Bench, old: str, new: str) -> None:
    broken.change(old, new)
    assert broken.resume().exit == 0


def test_another_host_key_is_refused_before_any_change(broken: Bench) -> None:
    before, sessions = broken.rig.conditions(), len(broken.events("session"))
    changed = HostKeyChanged("its host key is SHA256:b, known_hosts has SHA256:a", host="m2")
    broken.rig.trouble("node/records", changed, host="m2", times=9)
    broken.rig.calls.clear()
    for ended in (broken.resume(), broken.rollback()):
        assert ended.exit == 8
        assert "m2: its host key is SHA256:b, known_hosts has SHA256:a" in ended.err
    assert broken.rig.conditions() == before
    assert broken.rig.scripts() <= READ_ONLY
    assert len(broken.events("session")) == sessions


def test_a_silent_host_is_exit_8_before_a_change_and_5_after(down: Bench) -> None:
    down.rig.silent = {"m2"}
    assert down.restore().exit == 8
    down.rig.silent = set()
    down.rig.trouble("job/start", FAILED, step="swap", host="m2")
    assert down.restore().exit == 5
    down.rig.silent = {"m2"}
    ended = down.resume("--output", "json")
    assert (ended.exit, ended.error["code"]) == (5, "step-failed")
    assert "m2" in ended.error["message"] + str(ended.error["host"])
    assert "drctl restore --resume" in ended.error["hint"]


# -- another drctl ------------------------------------------------------------------------------


@pytest.fixture
def upgraded(broken: Bench) -> Callable[..., None]:
    """A drctl in which the template of that name has another text."""

    def upgrade(*names: str) -> None:
        broken.monkeypatch.setattr(
            planner,
            "template_digest",
            lambda name: "another" if name in names else template_digest(name),
        )

    return upgrade


def test_a_script_that_is_still_to_run_is_refused_by_name(
    broken: Bench, upgraded: Callable[..., None]
) -> None:
    upgraded("etcd/swap/act.sh")
    before = broken.rig.conditions()
    ended = broken.resume("--output", "json")
    assert (ended.exit, ended.error["code"]) == (6, "drifted")
    assert "  template.etcd/swap/act.sh: its text changed" in ended.error["message"]
    assert "--accept-drift templates" in ended.error["hint"]
    assert broken.rig.conditions() == before
    assert broken.resume("--accept-drift", "template.etcd/swap/act.sh").exit == 0
    (accepted,) = broken.events("drift-accepted")
    assert list(accepted["fields"]) == ["template.etcd/swap/act.sh"]


def test_all_scripts_can_be_accepted_at_once(broken: Bench, upgraded: Callable[..., None]) -> None:
    upgraded("etcd/swap/act.sh", "service/running/act.sh")
    both = ("--accept-drift=templates", "--accept-drift=steps")
    ended = broken.resume(*both)  # the second did not change
    assert (ended.exit, "leave out --accept-drift steps" in ended.err) == (2, True)
    assert broken.resume("--accept-drift", "templates").exit == 0
    (accepted,) = broken.events("drift-accepted")
    assert {"template.etcd/swap/act.sh", "template.service/running/act.sh"} == {*accepted["fields"]}


@pytest.mark.parametrize("done", ["etcd/restore/act.sh", "etcd/facts.sh", "etcd/swap/undo/act.sh"])
def test_a_script_that_will_not_run_again_may_change(
    broken: Bench, upgraded: Callable[..., None], done: str
) -> None:
    upgraded(done)
    assert broken.resume().exit == 0


def test_a_look_that_is_taken_again_may_not_change(
    broken: Bench, upgraded: Callable[..., None]
) -> None:
    """The last finished step on each resource is observed once more."""
    upgraded("service/fenced/observe.sh")
    assert broken.resume().exit == 6


def test_an_upgrade_does_not_bar_a_rollback(broken: Bench, upgraded: Callable[..., None]) -> None:
    before = broken.rig.conditions()
    upgraded("etcd/swap/undo/act.sh")
    ended = broken.rollback("--output", "json")
    assert (ended.exit, ended.error["code"]) == (6, "drifted")
    assert "--accept-drift templates" in ended.error["hint"]
    assert broken.rig.conditions() == before
    assert broken.rollback("--accept-drift", "templates").exit == 0
    assert broken.state().state == "rolled-back"


def test_what_a_rollback_does_not_run_may_change(
    broken: Bench, upgraded: Callable[..., None]
) -> None:
    upgraded("etcd/swap/act.sh")
    assert broken.rollback().exit == 0


def _own(bench: Bench, change: Callable[[str], str]) -> Path:
    return bench.runbook(change(shipped_runbooks()["restore"].read_text()))


def test_a_rollback_takes_the_steps_of_another_drctl(down: Bench) -> None:
    own = _own(down, str)
    down.rig.trouble("job/start", FAILED, step="swap", host="m2")
    assert down.restore("--runbook", own).exit == 5
    _own(down, lambda text: text.replace("id: restart-kubelet", "id: kubelets"))
    assert down.resume().exit == 6
    assert down.rollback().exit == 0


def test_a_runbook_of_ones_own_is_resumed_over_an_accepted_drift(down: Bench) -> None:
    own = _own(down, str)
    down.rig.trouble("job/start", FAILED, step="swap", host="m2")
    typed = ("run", own, "--inventory", down.inventory, "--yes")
    assert down.drctl(*typed, "--snapshot", down.snapshot).exit == 5
    _own(down, lambda text: text.replace("id: restart-kubelet", "id: kubelets"))
    ended = down.drctl(*typed, "--resume", "--output", "json")
    assert ended.exit == 6
    names = ("steps", "steps.kubelets", "steps.restart-kubelet")
    accept = [word for name in names for word in ("--accept-drift", name)]
    assert " ".join(accept) in ended.error["hint"]
    assert down.drctl(*typed, *accept).exit == 2  # only of a resume
    assert down.drctl(*typed, "--resume", *accept).exit == 0


def test_a_step_that_was_begun_and_is_gone_bars_a_rollback(down: Bench) -> None:
    own = _own(down, str)
    down.rig.trouble("job/start", FAILED, step="swap", host="m2")
    assert down.restore("--runbook", own).exit == 5
    before = down.rig.conditions()
    _own(down, lambda text: text.replace("id: stop-etcd", "id: etcd-stops"))
    assert down.rollback().exit == 6
    ended = down.rollback("--accept-drift", "steps")
    assert ended.exit == 6
    names = [f"--accept-drift={name}" for name in ("steps", "steps.stop-etcd")]
    ended = down.rollback(*names)
    assert ended.exit == 6
    assert "stop-etcd was started on m1, m2, m3, but the runbook no longer has it" in ended.err
    assert f"use drctl {__version__}" in ended.err
    assert down.rig.conditions() == before


def test_a_run_of_another_format_is_refused_with_the_version_that_reads_it(broken: Bench) -> None:
    def of_another(kind: str, body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "format": 9, "drctl": "3.1.4"} if kind == "run-started" else body

    run, before = broken.state().run, broken.rig.conditions()
    forge(broken.state_dir, run, of_another)
    for ended in (
        broken.resume(),
        broken.rollback(),
        broken.drctl("runs", "show", run),
        broken.drctl("clean", "--inventory", broken.inventory, "--yes"),
    ):
        assert ended.exit == 4
        assert "was written by drctl 3.1.4 (format 9)" in ended.err
        assert "use that version for this run" in ended.err
    assert broken.rig.conditions() == before
    assert run in broken.drctl("runs", "list").out


def test_a_run_of_another_format_bars_no_new_one(down: Bench) -> None:
    assert down.restore().exit == 0
    assert down.rollback().exit == 0
    down.rig.disaster()
    forge(down.state_dir, down.state().run, lambda _, body: {**body, "format": 9})
    ended = down.restore()
    assert ended.exit == 0, ended.err
    assert "(format 9)" in ended.err
