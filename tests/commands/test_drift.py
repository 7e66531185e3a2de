"""I8: what may not differ between two sessions of a run. Each field by its name, with the old and
the new value, before any change; and each can be accepted, by name, in the journal."""

from __future__ import annotations

import pytest

from drctl.errors import HostKeyChanged
from drctl.inventory import Inventory, load_inventory
from tests.commands.test_resume import FAILED
from tests.model.harness import INVENTORY
from tests.support.bench import Bench
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
