"""The systemd fence, on a `systemctl` of files that does what was measured of the real one: it
knows of a drop-in only what it read at its last daemon-reload; an Assert makes a start fail, a
Condition skips it with success; a start that waits, waits for a quorum. Units of real systemd
nodes are fenced in tests/lab/docker."""

from __future__ import annotations

import fcntl
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from drctl.render import render_script
from drctl.transport import Script
from tests.templates.node import RUN, Node
from tests.templates.shells import Ran, Shell

_SYSTEMCTL = r"""#!/bin/sh
state='{state}' etc='{etc}'
echo "$*" >> "$state/log"
holds() {{ # KIND UNIT: does a drop-in that was read keep the unit from starting?
  for file in "$state/read/$2.service.d/"*.conf; do
    [ -e "$file" ] && path=$(sed -n "s/^$1PathExists=!//p" "$file") && [ -n "$path" ] &&
      [ -e "$path" ] && return 0
  done
  return 1
}}
case $1 in
  daemon-reload) rm -rf "$state/read"; cp -r "$etc" "$state/read" ;;
  start)
    shift
    if [ "$1" = --no-block ]; then shift; else echo "no quorum: timed out" >&2; exit 1; fi
    if holds Assert "$1"; then exit 1; fi
    holds Condition "$1" || : > "$state/up/$1"
    ;;
  stop) rm -f "$state/up/$2" "$state/queued/$2" ;;
  reset-failed) ;;
  show)
    for unit; do :; done
    unit=${{unit%.service}}
    case $* in
      *DropInPaths*)
        echo LoadState=loaded
        [ ! -d "$state/read/$unit.service.d" ] ||
          echo "DropInPaths=$(ls -d "$etc/$unit.service.d"/*)"
        ;;
      *ActiveState*)
        if [ -e "$state/up/$unit" ]; then echo ActiveState=active
        else echo ActiveState=inactive; fi
        [ ! -e "$state/queued/$unit" ] || echo Job=7
        ;;
      *"-p Id"*) echo "Id=$unit.service" ;;
    esac
    ;;
  *) exit 64 ;;
esac
"""


@dataclass(frozen=True)
class Machine:
    """A node whose services systemd manages."""

    node: Node
    etc: Path
    state: Path

    def run(self, script: Script | None, env: Mapping[str, str]) -> Ran:
        assert script
        assert "/etc/systemd/system" in script.body
        body = script.body.replace("/etc/systemd/system", str(self.etc))
        return self.node.shell.body(body.replace("/proc/[0-9]*", f"{self.state}/proc/*"), env)

    def act_at_once(self, step: str) -> Ran:
        """As `act`, with no time to wait for anything."""
        task = self.node.task(step)
        assert task.act
        assert "left=1200" in task.act.body
        script = replace(task.act, body=task.act.body.replace("left=1200", "left=0"))
        return self.run(script, self.node.env(task, {}))

    def observe(self, step: str, seen: Mapping[str, str] | None = None) -> dict[str, str]:
        task = self.node.task(step)
        ran = self.run(task.observe, self.node.env(task, seen or {}))
        assert ran.status == 0, ran
        return ran.fields

    def act(self, step: str, seen: Mapping[str, str] | None = None) -> Ran:
        task = self.node.task(step)
        return self.run(task.act, self.node.env(task, seen or {}))

    def systemctl(self, *words: str) -> int:
        return subprocess.run([self.node.shell.bin / "systemctl", *words], check=False).returncode

    @property
    def runs(self) -> bool:
        return (self.state / "up" / "etcd").exists()


@pytest.fixture
def machine(shell: Shell, tmp_path: Path) -> Machine:
    node = Node(tmp_path / "n", shell)
    text = node.file.read_text()
    node.file.write_text(text[: text.index("service_manager:")] + text[text.index("options:") :])
    etc, state = tmp_path / "etc", tmp_path / "systemd"
    for folder in (etc, state / "up", state / "queued", state / "read"):
        folder.mkdir(parents=True)
    systemctl = shell.bin / "systemctl"
    systemctl.unlink(missing_ok=True)
    systemctl.write_text(_SYSTEMCTL.format(state=state, etc=etc))
    systemctl.chmod(0o755)
    (state / "up" / "etcd").touch()
    return Machine(node, etc, state)


def test_a_fenced_unit_does_not_start_and_says_so(machine: Machine) -> None:
    assert machine.observe("stop-etcd") | {"why": ""} == {
        "was": "etcd:active,",
        "state": "before",
        "why": "",
    }
    assert machine.act("stop-etcd").status == 0
    assert machine.observe("stop-etcd")["state"] == "after"
    assert machine.systemctl("start", "--no-block", "etcd") == 1  # a skipped one would be 0
    assert not machine.runs
    machine.systemctl("daemon-reload")  # as a reboot reads it
    assert machine.systemctl("start", "--no-block", "etcd") == 1


def test_a_fence_that_systemd_has_not_read_is_none(machine: Machine) -> None:
    """Killed between the drop-in and the daemon-reload."""
    assert machine.act("stop-etcd").status == 0
    for file in (machine.state / "read").rglob("*.conf"):
        file.unlink()
    (machine.state / "read" / "etcd.service.d").rmdir()
    assert machine.observe("stop-etcd")["state"] == "before"
    assert machine.act("stop-etcd").status == 0
    assert machine.observe("stop-etcd")["state"] == "after"


def test_systemd_hears_of_a_fences_end_when_the_node_is_given_back(machine: Machine) -> None:
    """A reload takes long, and a start needs none: it is not in the outage. But it comes: step 1
    refuses a unit of which systemd has not read the files."""
    seen, log = machine.observe("stop-etcd"), machine.state / "log"
    assert machine.act("stop-etcd").status == 0
    log.unlink()
    assert machine.act("start-etcd", seen).status == 0
    assert "daemon-reload" not in log.read_text()
    work = machine.node.root / "work"
    (work / "owner").write_text(f"run={RUN}\nepoch=1\n")
    env = {"DRCTL_EPOCH": "1", "DRCTL_RECORD": "{}", "DRCTL_LINE": "1 r1 done"}
    for expected in (1, 1):  # once
        ran = machine.node.run(render_script("job/release"), env)
        assert ran.status == 0, ran
        assert log.read_text().splitlines().count("daemon-reload") == expected
    assert not (work / "owner").exists()


@pytest.mark.parametrize("step", ["start-etcd", "undo stop-etcd"])
def test_it_is_started_without_waiting_and_without_a_fence(machine: Machine, step: str) -> None:
    seen = machine.observe("stop-etcd")
    assert machine.act("stop-etcd").status == 0
    ran = machine.act(step, seen)
    assert ran.status == 0, ran
    assert machine.runs
    assert machine.observe(step, seen)["state"] == "after"
    assert list(machine.etc.iterdir()) == []
    assert list((machine.node.root / "work" / "fence").iterdir()) == []


def test_what_is_proven_gone_is_not_watched(machine: Machine) -> None:
    assert machine.node.inventory.settle_seconds > 0
    assert machine.act_at_once("stop-etcd").status == 0


@pytest.mark.parametrize("left", ["0::/system.slice/etcd.service", "3:pids:/a/etcd.service/sub"])
def test_a_process_of_the_unit_is_left(machine: Machine, left: str) -> None:
    """As KillMode=process leaves them: then nothing is proven, and it is watched."""
    (machine.state / "proc" / "1").mkdir(parents=True)
    cgroup = machine.state / "proc" / "1" / "cgroup"
    cgroup.write_text("0::/system.slice/etcd.service.d\n")  # of another unit
    assert machine.act_at_once("stop-etcd").status == 0
    cgroup.write_text(f"{left}\n")
    assert machine.act_at_once("stop-etcd").status == 1
    assert machine.act("stop-etcd").status == 0


def test_an_open_database_is_not_proven_gone(machine: Machine) -> None:
    """Whoever has it open is not this unit; the swap refuses too, should it stay so."""
    database = machine.node.data / "member" / "snap" / "db"
    database.parent.mkdir(parents=True)
    with database.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert machine.act_at_once("stop-etcd").status == 1
    assert machine.act_at_once("stop-etcd").status == 0


def test_a_start_that_is_queued_is_not_gone(machine: Machine) -> None:
    assert machine.act("stop-etcd").status == 0
    (machine.state / "queued" / "etcd").touch()
    seen = machine.observe("stop-etcd")
    assert (seen["state"], seen["was"]) == ("before", "etcd:queued,")
    assert machine.act("stop-etcd").status == 0
    assert machine.observe("stop-etcd")["state"] == "after"
    assert not (machine.state / "queued" / "etcd").exists()


def test_a_running_unit_behind_a_fence_is_not_done(machine: Machine) -> None:
    assert machine.act("stop-etcd").status == 0
    (machine.state / "up" / "etcd").touch()
    assert machine.observe("start-etcd")["state"] == "before"
    assert machine.observe("stop-etcd")["state"] == "before"
