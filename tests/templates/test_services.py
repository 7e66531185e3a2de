"""service/* with the manager `command`, over a stub whose state is files."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from tests.templates.node import Node
from tests.templates.shells import Shell

ADDRESS = "127.0.83.7"


@pytest.fixture
def node(shell: Shell, tmp_path: Path) -> Node:
    return Node(tmp_path / "n", shell, address=ADDRESS)


def up(node: Node, *units: str) -> None:
    for unit in units:
        (node.root / "svc/up" / unit).touch()


def running(node: Node) -> set[str]:
    return {path.name for path in (node.root / "svc/up").iterdir()}


def fenced(node: Node) -> set[str]:
    return {path.name for path in (node.root / "svc/fence").iterdir()}


def log(node: Node) -> list[str]:
    file = node.root / "svc/log"
    return file.read_text().splitlines() if file.exists() else []


def test_stopped_in_reverse_and_fenced(node: Node) -> None:
    up(node, "one", "two")
    seen = node.observe("stop-apiserver")
    assert seen["state"] == "before" and seen["was"] == "one:active,two:active,"
    assert node.act("stop-apiserver").status == 0
    assert node.state("stop-apiserver") == "after"
    assert log(node) == ["stop two", "stop one"]
    assert (running(node), fenced(node)) == (set(), {"one", "two"})
    assert node.act("stop-apiserver").status == 0
    assert log(node) == ["stop two", "stop one"]


def test_stopped_without_a_fence_is_not_fenced(node: Node) -> None:
    assert node.state("stop-apiserver") == "before"
    (node.root / "svc/fence/one").touch()
    assert node.state("stop-apiserver") == "before"
    (node.root / "svc/fence/two").touch()
    assert node.state("stop-apiserver") == "after"


def test_what_comes_back_once_is_stopped_again(node: Node) -> None:
    up(node, "one", "two")
    (node.root / "svc/back/one").touch()
    began = time.monotonic()
    assert node.act("stop-apiserver").status == 0
    assert node.state("stop-apiserver") == "after"
    assert log(node) == ["stop two", "stop one", "stop one"]
    assert time.monotonic() - began > 1.0  # gone for as long as it takes to be believed


def test_what_cannot_be_stopped_is_an_error(node: Node) -> None:
    up(node, "one")
    ctl = node.root / "ctl"
    ctl.write_text(ctl.read_text().replace('rm -f "up/$2" && echo', "echo"))
    ran = node.act("stop-apiserver", tries=3)
    assert ran.status == 1 and "not gone in time: one:active," in ran.err
    assert fenced(node) == {"one", "two"}


@pytest.mark.parametrize(
    ("address", "counts"), [(ADDRESS, True), ("0.0.0.0", True), ("127.0.83.8", False)]
)
def test_a_listener_is_not_gone(shell: Shell, tmp_path: Path, address: str, counts: bool) -> None:
    with socket.create_server((address, 0)) as server:
        node = Node(tmp_path / "n", shell, address=ADDRESS, port=server.getsockname()[1])
        for unit in ("one", "two"):
            (node.root / "svc/fence" / unit).touch()
        assert node.state("stop-apiserver") == ("before" if counts else "after")
        if counts:
            assert node.act("stop-apiserver", tries=2).status == 1
    assert node.state("stop-apiserver") == "after"


@pytest.mark.parametrize("kills", [True, False])
def test_what_does_not_stop_is_killed_after_its_grace(node: Node, kills: bool) -> None:
    text = node.file.read_text().replace(
        "units: [one, two],", "units: [one, two], stop_seconds: 0.5,"
    )
    if kills:
        text = text.replace(
            "  fence: ",
            f'  kill: "rm -f {node.root}/svc/up/{{unit}}; kill %s"\n  fence: ' % "$(cat pid)",
        )
        text = text.replace("$(cat pid)", f"$(cat {node.root}/svc/pid)")
    node.file.write_text(text)
    changed(
        node,
        'rm -f "up/$2" && echo "stop $2" >> log',
        'echo $$ > pid; echo "stop $2" >> log; for n in 1 2 3 4; do sleep 1; done; rm -f "up/$2"',
    )
    up(node, "one")
    ran = node.act("stop-apiserver")
    assert ran.status in (0, 143), ran
    assert ("one did not stop within 0.5 s: killed" in ran.err) is kills
    assert node.state("stop-apiserver") == "after"


def test_nobody_is_killed_without_a_grace(node: Node) -> None:
    """Dependents, and whatever is not said to be without state."""
    services = node.inventory.services
    assert services["dependents"].stop_seconds is None and services["kubelet"].stop_seconds is None
    assert services["apiserver"].stop_seconds == 5 and services["etcd"].stop_seconds == 10


def test_who_listens_is_named(shell: Shell, tmp_path: Path) -> None:
    with socket.create_server((ADDRESS, 0)) as server:
        port = server.getsockname()[1]
        node = Node(tmp_path / "n", shell, address=ADDRESS, port=port)
        for unit in ("one", "two"):
            (node.root / "svc/fence" / unit).touch()
        words = f"port {port} is in use by "
        me = f"(pid {os.getpid()}) in /"
        why = node.observe("stop-apiserver")["why"]
        assert words in why and me in why and f"(pid {os.getppid()})" in why
        ran = node.act("stop-apiserver", tries=2)
        assert ran.status == 1 and words in ran.err and me in ran.err


def test_the_undo_brings_back_exactly_what_ran(node: Node) -> None:
    up(node, "two")
    seen = node.observe("stop-apiserver")
    assert node.act("stop-apiserver").status == 0
    assert node.state("undo stop-apiserver", seen) == "before"
    assert node.act("undo stop-apiserver", seen).status == 0
    assert node.state("undo stop-apiserver", seen) == "after"
    assert (running(node), fenced(node)) == ({"two"}, set())
    assert node.act("undo stop-apiserver", seen).status == 0
    assert log(node) == ["stop two", "start two"]


def test_the_undo_waits_for_what_starts_slowly(node: Node) -> None:
    up(node, "one")
    seen = node.observe("stop-apiserver")
    node.act("stop-apiserver")
    ctl = node.root / "ctl"
    slow = '(sleep 0.7; : > "up/$2") >/dev/null 2>&1 &\n  echo "start $2" >> log ;;'
    text = ctl.read_text().replace(': > "up/$2" && echo "start $2" >> log ;;', slow)
    assert text != ctl.read_text()
    ctl.write_text(text)
    assert node.act("undo stop-apiserver", seen).status == 0
    assert node.state("undo stop-apiserver", seen) == "after"


def test_no_answer_is_not_stopped(node: Node) -> None:
    """A manager that is not there has not said that nothing runs."""
    for unit in ("one", "two"):
        (node.root / "svc/fence" / unit).touch()
    assert node.state("stop-apiserver") == "after"
    (node.root / "ctl").rename(node.root / "ctl.gone")
    for step in ("stop-apiserver", "start-apiserver", "undo stop-apiserver", "restart-kubelet"):
        seen = node.observe(step)
        assert seen["state"] == "unknown" and "does not answer" in seen["why"], step


@pytest.fixture
def slow_node(shell: Shell, tmp_path: Path) -> Node:
    """Ready at the third time of asking; the command leaves its shell."""
    tries = tmp_path / "asked"
    ready = f"echo x >> {tries}; test $(wc -l < {tries}) -ge 3; exit $?"
    return Node(tmp_path / "n", shell, address=ADDRESS, ready=ready)


def test_started_in_order_and_awaited(slow_node: Node, tmp_path: Path) -> None:
    node = slow_node
    for unit in ("one", "two"):
        (node.root / "svc/fence" / unit).touch()
    assert node.state("start-apiserver") == "before"
    assert node.act("start-apiserver").status == 0
    assert len((tmp_path / "asked").read_text().split()) == 3
    assert node.state("start-apiserver") == "after"
    assert log(node) == ["start one", "start two"]
    assert (running(node), fenced(node)) == ({"one", "two"}, set())


def test_running_and_not_ready_is_not_done(shell: Shell, tmp_path: Path) -> None:
    node = Node(tmp_path / "n", shell, address=ADDRESS, ready="false")
    up(node, "one", "two")
    seen = node.observe("start-apiserver")
    assert seen["state"] == "before" and "and not ready" in seen["why"]
    ran = node.act("start-apiserver", tries=2)
    assert ran.status == 1 and "and not ready" in ran.err


def test_running_behind_a_fence_is_not_done(node: Node) -> None:
    up(node, "one", "two")
    assert node.state("start-apiserver") == "after"
    (node.root / "svc/fence/two").touch()
    assert node.state("start-apiserver") == "before"


def test_the_undo_of_a_start_is_a_fence(node: Node) -> None:
    assert node.act("start-apiserver").status == 0
    assert node.act("undo start-apiserver").status == 0
    assert node.state("undo start-apiserver") == "after"
    assert (running(node), fenced(node)) == (set(), {"one", "two"})


def test_restarted_means_since_the_first_look(node: Node) -> None:
    up(node, "kubelet")
    seen = node.observe("restart-kubelet")
    assert seen["state"] == "before"
    assert node.state("restart-kubelet", seen) == "before"
    assert node.act("restart-kubelet", seen).status == 0
    assert node.state("restart-kubelet", seen) == "after"
    assert log(node) == ["stop kubelet", "start kubelet"]
    assert node.state("restart-kubelet", node.observe("restart-kubelet")) == "before"


def test_a_restart_of_what_was_down_starts_it(node: Node) -> None:
    seen = node.observe("restart-kubelet")
    assert node.act("restart-kubelet", seen).status == 0
    assert log(node) == ["start kubelet"]
    (node.root / "svc/up/kubelet").unlink()
    assert node.state("restart-kubelet", seen) == "before"


@pytest.mark.parametrize(("ready", "said"), [("true", "ok"), ("echo no; exit 1", "no not ready")])
def test_health_is_what_the_ready_command_says(
    shell: Shell, tmp_path: Path, ready: str, said: str
) -> None:
    node = Node(tmp_path / "n", shell, address=ADDRESS, ready=ready)
    found = node.observe("answers")
    assert found["asked"].split() == ["apiserver", "kubelet"]
    assert {" ".join(found[f"ready.{name}"].split()) for name in ("apiserver", "kubelet")} == {said}


def changed(node: Node, old: str, new: str) -> None:
    ctl = node.root / "ctl"
    text = ctl.read_text()
    assert old in text
    ctl.write_text(text.replace(old, new))


def test_the_fence_is_up_before_the_stop(node: Node) -> None:
    """Else something could start it again in between."""
    stop = 'rm -f "up/$2" && echo "stop $2" >> log'
    changed(node, stop, f'[ -e "fence/$2" ] || echo "open $2" >> log; {stop}')
    up(node, "one", "two")
    assert node.act("stop-apiserver").status == 0
    assert log(node) == ["stop two", "stop one"]


def test_it_is_looked_at_for_as_long_as_the_inventory_says(shell: Shell, tmp_path: Path) -> None:
    node = Node(tmp_path / "n", shell, address=ADDRESS, settle=2)
    changed(node, 'running) [ -e "up/$2" ]', 'running) echo "look $2" >> log; [ -e "up/$2" ]')
    up(node, "one", "two")
    assert node.act("stop-apiserver").status == 0
    after = log(node)[log(node).index("stop one") :]
    assert after.count("look one") >= 4  # at least twice a second


@pytest.mark.parametrize(
    ("command", "said"), [("true", "ok"), ("echo 503; exit 22", "503 not ready")]
)
def test_ready_is_tried_while_the_old_cluster_serves(
    tmp_path: Path, shell: Shell, command: str, said: str
) -> None:
    node = Node(tmp_path, shell, ready=command)
    for unit in ("one", "two"):
        (tmp_path / "svc/up" / unit).touch()
    node.values["quorum"] = "True"
    told = node.observe("ready")
    assert told["asked"].split() == ["apiserver", "kubelet"]
    assert (told["runs.apiserver"], told["ready.apiserver"]) == ("yes", said)
    assert told["runs.kubelet"] == "no"  # it does not run: nothing follows from its answer


@pytest.mark.parametrize("quorum", ["False", ""])
def test_and_not_asked_where_it_does_not(tmp_path: Path, shell: Shell, quorum: str) -> None:
    asked = tmp_path / "was-asked"
    node = Node(tmp_path, shell, ready=f"touch {asked}")
    node.values["quorum"] = quorum
    assert node.observe("ready") == {"asked": ""}
    assert not asked.exists()


@pytest.mark.parametrize("status", [124, 137])
def test_a_ready_command_that_hangs_says_no(tmp_path: Path, shell: Shell, status: int) -> None:
    """As `timeout` tells it."""
    node = Node(tmp_path, shell, ready="sleep 600")
    timeout = shell.bin / "timeout"
    timeout.unlink(missing_ok=True)
    timeout.write_text(f'#!/bin/sh\n[ "$*" = "-k 2 8 sh -c sleep 600" ] && exit {status}\nexit 1\n')
    timeout.chmod(0o755)
    node.values["quorum"] = "True"
    told = node.observe("ready")
    assert told["ready.apiserver"] == "no answer within 8 s, not ready"
