"""`drctl restore` from its first word to its exit status."""

from __future__ import annotations

import stat
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from drctl.errors import Unreachable
from drctl.inventory import load_inventory
from drctl.journal.runstate import UNFINISHED, Event
from drctl.plan.runbook import load_runbook
from drctl.transport import CommandResult
from drctl.ui.console import Watch
from tests.etcd.samples import snapshot_bytes, write_snapshot
from tests.model.simulation import OLD_TOKEN
from tests.plan.test_plan import planner
from tests.support.bench import Bench
from tests.support.rig import READ_ONLY

GOOD = snapshot_bytes()


@pytest.mark.parametrize("order", [(), ("--staged",)])
def test_a_restore_replaces_the_data_and_says_so(down: Bench, order: tuple[str, ...]) -> None:
    ended = down.restore(*order)
    assert ended.exit == 0, ended.err
    assert ended.out == ""  # nothing to report to a script: everything is said on stderr
    assert "sim is restored and verified" in ended.err
    assert "m1:/var/lib/etcd.drctl/" in ended.err
    nodes = [down.rig.nodes[name] for name in ("m1", "m2", "m3")]
    assert {node.kept for node in nodes} == {OLD_TOKEN}
    assert len({node.live for node in nodes}) == 1
    assert all(not node.owner and all(node.services.values()) for node in nodes)


def test_no_old_data_is_named_where_there_was_none(down: Bench) -> None:
    """A member whose disk was lost has none: the question does not know it yet, the end does."""
    down.rig.nodes["m2"].live = None
    ended = down.restore()
    assert ended.exit == 0, ended.err
    asked, _, _ = ended.err.partition("2 stop kubernetes")
    _, _, places = asked.partition("keeps      the old data, where there is any:")
    assert [f"           m{n}:/" in places for n in (1, 2, 3)] == [True] * 3
    kept = [line for line in ended.err.splitlines() if line.startswith("old data kept: ")]
    assert [line.split(":")[1].strip() for line in kept] == ["m1", "m3"]
    shown = down.drctl("runs", "report", "--output", "json").document
    assert [place.partition(":")[0] for place in shown["kept"]] == ["m1", "m3"]


def test_what_is_piped_has_no_colour(down: Bench) -> None:
    down.monkeypatch.setenv("TERM", "xterm-256color")
    ended = down.restore()
    assert "\x1b" not in ended.err
    lines = ended.err.splitlines()
    assert lines.index("1 prepare") < lines.index("2 stop kubernetes") < lines.index("3 stop etcd")


@pytest.mark.parametrize("no_color", [True, False])
def test_a_terminal_has_colour_unless_told_not_to(down: Bench, no_color: bool) -> None:
    down.monkeypatch.setenv("TERM", "xterm-256color")
    down.monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        down.monkeypatch.setenv("NO_COLOR", "1")
    plan = planner(down.rig.inventory).plan(load_runbook("restore"))
    file = StringIO()
    watch = Watch(plan, Console(file=file, force_terminal=True, highlight=False))
    watch(Event(1, "", "step-started", {"step": "stop-etcd"}))
    watch(Event(2, "", "result", {"step": "stop-etcd", "host": "m1", "state": "done"}))
    assert "✓ m1" in file.getvalue()
    assert ("\x1b[32m" in file.getvalue()) == (not no_color)


def test_yes_is_journalled_as_such(down: Bench) -> None:
    down.restore()
    assert down.events("confirmed") == [{"how": "--yes", "step": "agree"}]


def test_the_state_folder_is_the_operators_own(down: Bench) -> None:
    down.restore()
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in down.state_dir.rglob("*")}
    assert stat.S_IMODE(down.state_dir.stat().st_mode) == 0o700
    assert {modes["journal.sqlite"], modes["lock"]} == {0o600}
    assert modes["sim"] == modes[down.state().run] == 0o700


def test_a_healthy_cluster_is_not_replaced_by_accident(bench: Bench) -> None:
    before = bench.rig.conditions()
    ended = bench.restore()
    assert ended.exit == 4
    assert "56 revisions ahead of the snapshot (100, snapshot 44)" in ended.err
    assert "hint: to replace it anyway, add --replace-healthy" in ended.err
    assert bench.rig.conditions() == before
    assert bench.rig.scripts() <= READ_ONLY
    assert bench.restore("--replace-healthy").exit == 0


def test_without_a_terminal_nobody_can_agree(down: Bench) -> None:
    before = down.rig.conditions()
    ended = down.drctl("restore", "--snapshot", down.snapshot, "--inventory", down.inventory)
    assert ended.exit == 10
    assert "hint: to go ahead without the question: --yes" in ended.err
    assert down.rig.conditions() == before
    assert down.rig.scripts() <= READ_ONLY
    assert down.state().state == "aborted"


@pytest.mark.parametrize(("typed", "exit_code"), [("sim", 0), ("yes", 10), ("", 10), ("SIM", 10)])
def test_only_the_clusters_name_agrees(down: Bench, typed: str, exit_code: int) -> None:
    down.monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    down.monkeypatch.setattr("click.prompt", lambda *_, **__: typed)
    ended = down.drctl("restore", "--snapshot", down.snapshot, "--inventory", down.inventory)
    assert ended.exit == exit_code
    assert "snapshot   " in ended.err
    assert (down.rig.started != []) == (exit_code == 0)


def _missing(folder: Path) -> Path:
    return folder / "nowhere.db"


def _flipped(folder: Path) -> Path:
    bad = bytearray(GOOD)
    bad[70_000] ^= 4
    return write_snapshot(folder, bytes(bad), "bad.db")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_missing, "no such file"),
        (lambda folder: write_snapshot(folder, b"", "bad.db"), "is empty"),
        (lambda folder: folder, "is a directory"),
        (lambda folder: write_snapshot(folder, GOOD[:65536], "bad.db"), "truncated"),
        (_flipped, "is damaged"),
        (lambda folder: write_snapshot(folder, GOOD[:-32], "bad.db"), "raw copy"),
    ],
)
@pytest.mark.parametrize("command", ["restore", "preflight"])
def test_a_bad_snapshot_is_refused_before_anyone_is_asked(
    down: Bench, command: str, make: Callable[[Path], Path], words: str
) -> None:
    bad = make(down.folder)
    ended = down.drctl(command, "--snapshot", bad, "--inventory", down.inventory)
    assert (ended.exit, down.rig.calls) == (3, [])
    assert words in ended.err
    assert "hint: " in ended.err
    assert down.store.runs() == []


def test_a_dry_run_changes_nothing(down: Bench) -> None:
    before = down.rig.snapshot()
    ended = down.restore("--dry-run")
    assert ended.exit == 0, ended.err
    assert down.rig.snapshot() == before
    assert down.rig.scripts() <= READ_ONLY
    assert not down.state_dir.exists()
    assert "3 stop etcd\n  stop-etcd: stop every member, the leader last\n" in ended.out


def test_a_dry_run_ends_as_its_checks_would(bench: Bench) -> None:
    ended = bench.restore("--dry-run", "--output", "json")
    assert (ended.exit, ended.error["code"]) == (4, "refused")
    bench.rig.silent = {"m2"}
    ended = bench.restore("--dry-run", "--output", "json")
    assert (ended.exit, ended.error["host"]) == (8, "m2")


def test_offline_connects_to_nothing(bench: Bench) -> None:
    ended = bench.restore("--dry-run", "--offline", "--output", "json")
    assert (ended.exit, bench.rig.calls) == (0, [])
    assert ended.document["steps"]


def test_offline_alone_does_not_start_a_restore(down: Bench) -> None:
    ended = down.restore("--offline")
    assert (ended.exit, down.rig.calls) == (2, [])
    assert "--offline needs --dry-run" in ended.err


def test_the_dry_runs_document_has_the_promised_shape(down: Bench) -> None:
    document = down.restore("--dry-run", "--output", "json").document
    assert document["runbook"] == "restore"
    assert document["snapshot"]["path"] == str(down.snapshot)
    assert document["snapshot"]["sha256"] == down.rig.sha256
    order = list(dict.fromkeys(step["id"] for step in document["steps"]))
    assert order.index("stop-etcd") < order.index("send") < order.index("swap")
    assert order.index("swap") < order.index("start-etcd") < order.index("start-apiserver")
    for step in document["steps"]:
        assert {"id", "phase", "host", "action", "commands"} <= set(step)
        assert all(isinstance(command, str) for command in step["commands"])
    restoring = next(s for s in document["steps"] if (s["id"], s["host"]) == ("rebuild", "m2"))
    assert restoring["variables"]["DRCTL_TOKEN"] == "value token"
    assert "flock" in document["wrapper"]


def test_the_commands_of_a_dry_run_are_those_of_the_run(down: Bench) -> None:
    document = down.restore("--dry-run", "--offline", "--output", "json").document
    shown = {(s["id"], s["host"]): s["commands"][-1] for s in document["steps"]}
    sent: dict[tuple[str, str], str] = {}
    start = down.rig.handlers["job/start"]

    def record(host: str, script: object, env: object) -> object:
        assert isinstance(env, dict)
        sent[env["DRCTL_STEP"], host] = env["DRCTL_BODY"]
        return start(host, script, env)  # type: ignore[arg-type]  # handed on as it came

    down.rig.handlers["job/start"] = record  # type: ignore[assignment]  # a bare pass-through
    assert down.restore().exit == 0
    assert len(sent) > 20
    for key, body in sent.items():
        head, command = body[: -len(shown[key])], body[-len(shown[key]) :]
        assert command == shown[key], key
        assert all(line.startswith("DRCTL_") for line in head.splitlines()), key


def test_a_run_is_listed_and_shown(down: Bench) -> None:
    ended = down.restore("--output", "json")
    listed = down.drctl("runs", "list", "--output", "json").document
    shown = down.drctl("runs", "show", "--output", "json").document
    assert ended.document == shown
    assert [entry["run"] for entry in listed] == [shown["run"]]
    assert set(shown) >= {"run", "state", "runbook", "inventory", "snapshot", "started"}
    assert (shown["state"], shown["runbook"]) == ("done", "restore")
    assert shown["snapshot"] == {"path": str(down.snapshot), "sha256": down.rig.sha256}
    assert shown["finished"] > shown["started"]
    assert shown["next"].startswith("drctl backup ")
    swapped = [s for s in shown["steps"] if s["id"] == "swap"]
    assert [(s["host"], s["state"], s["phase"]) for s in swapped] == [
        (host, "done", "5 restore on each member") for host in ("m1", "m2", "m3")
    ]
    assert {"id", "phase", "host", "state", "started", "seconds"} <= set(swapped[0])
    text = down.drctl("runs", "show").out
    assert f"run {shown['run']} of sim: done" in text


def test_a_run_killed_before_its_first_event_is_in_nobodys_way(down: Bench) -> None:
    down.store.create("sim", "20260101-000000-aaaaaa").close()
    assert down.drctl("runs", "list", "--output", "json").document == []
    assert down.drctl("runs", "show").exit == 4
    assert down.resume().exit == 2
    assert down.restore().exit == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("restore", "--inventory", "INVENTORY"), "which snapshot?"),
        (("restore", "--snapshot", "SNAPSHOT"), "--inventory"),
        (("restore", "-i", "INVENTORY", "--snapshot", "SNAPSHOT", "--wrong"), "--wrong"),
        (
            ("restore", "-i", "INVENTORY", "--snapshot", "SNAPSHOT", "--staged", "--runbook", "x"),
            "exclude",
        ),
        (("restore", "-i", "INVENTORY", "--snapshot", "SNAPSHOT", "--var", "novalue"), "not K=V"),
        (("restore", "-i", "INVENTORY", "--snapshot", "SNAPSHOT", "--accept-drift", "x"), "resume"),
        (("restore", "-i", "INVENTORY", "--resume", "--dry-run"), "--dry-run"),
        (("run", "status", "-i", "INVENTORY", "--resume", "--dry-run"), "--dry-run"),
        (("nonsense",), "nonsense"),
    ],
)
def test_usage(down: Bench, arguments: tuple[str, ...], words: str) -> None:
    names = {"INVENTORY": str(down.inventory), "SNAPSHOT": str(down.snapshot)}
    ended = down.drctl(*(names.get(a, a) for a in arguments))
    assert (ended.exit, down.rig.calls) == (2, [])
    assert words in ended.err


def test_errors_are_json_where_json_was_asked_for(down: Bench) -> None:
    ended = down.drctl("restore", "--output", "json", "-i", down.inventory)
    assert (ended.exit, ended.error["code"]) == (2, "usage")
    ended = down.drctl("restore", "--output", "json")  # click's own complaint
    assert (ended.exit, ended.error["code"]) == (2, "usage")
    ended = down.drctl("runs", "show", "nope", "--output", "json")
    assert (ended.exit, ended.error["hint"]) == (4, "drctl runs list")
    down.rig.silent = {"m1"}
    ended = down.restore("--output", "json")
    assert (ended.exit, ended.error["code"], ended.error["host"]) == (8, "unreachable", "m1")
    assert "Traceback" not in ended.err


def test_a_bug_says_that_it_is_one(down: Bench) -> None:
    del down.rig.handlers["etcd/facts"]
    ended = down.restore()
    assert ended.exit == 1
    assert "this is a bug in drctl" in ended.err
    assert "nobody scripted 'etcd/facts'" in ended.err
    assert down.state().state in UNFINISHED


def test_a_traceback_only_for_those_who_ask(down: Bench) -> None:
    down.rig.silent = {"m1"}
    arguments = ("restore", "--snapshot", down.snapshot, "-i", down.inventory)
    assert "Traceback" not in down.drctl(*arguments).err
    assert "Traceback" in down.drctl("-vv", *arguments).err


def test_a_lost_worker_is_handed_over(down: Bench) -> None:
    down.rig.silent = {"w1"}
    ended = down.restore("--output", "json")
    assert ended.exit == 0
    assert ended.document["unreached"] == {"w1": "no route to host"}
    ended = down.drctl("runs", "show")
    assert "unreachable" in ended.out


@pytest.mark.parametrize(
    ("command", "keys"),
    [
        ("status", {"cluster_id", "members", "alarms", "warnings"}),
        ("verify", {"ok", "findings", "warnings", "snapshot"}),
        ("preflight", {"ok", "findings", "warnings", "snapshot"}),
    ],
)
def test_checks_answer_and_change_nothing(bench: Bench, command: str, keys: set[str]) -> None:
    before = bench.rig.snapshot()
    ended = bench.drctl(command, "-i", bench.inventory, "--output", "json")
    assert ended.exit == 0, ended.out
    assert set(ended.document) == keys
    assert bench.rig.snapshot() == before
    assert bench.rig.scripts() <= READ_ONLY
    assert not bench.state_dir.exists()


def test_verify_of_a_dead_cluster_is_not_proven(down: Bench) -> None:
    ended = down.drctl("verify", "-i", down.inventory, "--output", "json")
    assert (ended.exit, ended.error["code"]) == (9, "not-proven")


def test_status_of_hosts_that_nobody_reaches_is_no_status(bench: Bench) -> None:
    for host in ("m1", "m2", "m3"):
        bench.rig.trouble("etcd/state", Unreachable("no route"), host=host)
    ended = bench.drctl("status", "-i", bench.inventory)
    assert ended.exit == 8
    assert "m2: no route" in ended.err


def test_members_on_hosts_of_their_own(down: Bench) -> None:
    """etcd's hosts hold no service that could be asked whether it is ready."""
    down.change("control_plane: [m1, m2, m3]", "control_plane: [w1]")
    down.rig.inventory = load_inventory(down.inventory)
    down.rig.nodes["w1"].services = down.rig.nodes["m1"].services | {"etcd": False}
    assert down.restore().exit == 0
    assert down.state().findings["answers"] == ["w1: apiserver is ready"]


def test_a_session_that_lost_its_nodes_sends_nothing(down: Bench) -> None:
    """A newer session took the run over while this one slept, just before it sends the file."""
    theirs = "run=r\nepoch=9\nwho=bob@lap\nsince=now\n"
    down.rig.trouble("job/owned", CommandResult(75, theirs), host="m2")
    ended = down.restore()
    assert ended.exit == 7
    assert "m2: the node is locked by run r of bob@lap" in ended.err
    assert ("m1", "upload") in down.rig.calls
    assert ("m2", "upload") not in down.rig.calls
