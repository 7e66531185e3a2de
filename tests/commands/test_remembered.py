"""What the nodes remember beats what this machine remembers: which runs came after, and whether the
journal here is the one that they saw."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import pytest

from drctl.nodes.history import line_hash, read_history
from tests.commands.test_adopt import clean
from tests.commands.test_resume import FAILED
from tests.model.simulation import OLD_TOKEN, Node
from tests.runs.test_stray_copies import gone
from tests.support.bench import Bench, Ended
from tests.support.forging import another_name, forge
from tests.support.liar import HOSTILE, LIAR, Lies

pytestmark = pytest.mark.slow


@pytest.fixture
def restored(bench: Bench) -> Bench:
    """Run A, done."""
    assert bench.restore("--replace-healthy").exit == 0
    return bench


@pytest.fixture
def colleague(bench: Bench) -> Bench:
    """Another machine with a state directory of its own, for the same nodes."""
    return replace(bench, folder=bench.folder / "colleague")


def set_aside(bench: Bench) -> list[tuple[Node, tuple[str | None, str | None]]]:
    """The data that a run moved lies under its own name: the simulation has one place for it."""
    kept = []
    for node in bench.rig.nodes.values():
        kept.append((node, (node.live, node.kept)))
        node.kept, node.live = None, node.live and OLD_TOKEN
        node.moved_in = node.moved_out = False
    return kept


def restored_again(bench: Bench) -> str:
    """A whole restore more, from the machine `bench`; returns the run."""
    set_aside(bench)
    ended = bench.restore("--replace-healthy")
    assert ended.exit == 0, ended.err
    return bench.state().run


def refused_as_followed(ended: Ended, run: str) -> None:
    assert ended.exit == 4, ended.err
    assert f"m2: run {run} of " in ended.err
    assert (
        f"roll that run back first, on the machine where it was started: drctl rollback {run}"
        in ended.err
    )


def changes(bench: Bench) -> dict[str, dict[str, object]]:
    return {name: {**is_, "owner": {}} for name, is_ in bench.rig.conditions().items()}


def test_a_run_that_another_machines_followed_is_not_taken_back(
    restored: Bench, colleague: Bench
) -> None:
    first, second = restored.state().run, restored_again(colleague)
    before = restored.rig.conditions()
    refused_as_followed(restored.rollback(first), second)
    refused_as_followed(restored.rollback(), second)
    assert restored.rig.conditions() == before
    assert restored.state().state == "done"
    shown = restored.drctl("runs", "show", first, "--output", "json").document
    assert shown["situation"]["word"] == "followed"
    assert shown["next"].startswith("drctl status ")
    assert f"m1: run {second} of " in shown["situation"]["details"][0]


def test_with_one_state_directory_it_is_the_same(restored: Bench) -> None:
    first, second = restored.state().run, restored_again(restored)
    refused_as_followed(restored.rollback(first), second)


def test_an_adopted_run_that_was_followed_is_not_taken_back(
    restored: Bench, colleague: Bench
) -> None:
    first, second = restored.state().run, restored_again(colleague)
    third = replace(restored, folder=restored.folder / "third")
    adopted = third.drctl("runs", "adopt", first, "-i", third.inventory, "--gone")
    assert adopted.exit == 0, adopted.err
    assert f"warning: m1: run {second} of " in adopted.err
    assert "this one can be cleaned, not rolled back" in adopted.err
    refused_as_followed(third.rollback(first), second)
    assert clean(third, first, "--yes")[0] == 0


@pytest.mark.parametrize("where", ["restored", "colleague"])
def test_one_that_was_followed_by_a_run_that_was_taken_back_is_taken_back(
    restored: Bench, colleague: Bench, where: str
) -> None:
    other = {"restored": restored, "colleague": colleague}[where]
    first, kept = restored.state().run, set_aside(restored)
    assert other.restore("--replace-healthy").exit == 0
    assert other.rollback().exit == 0
    for node, (live, old) in kept:
        node.live, node.kept, node.moved_in, node.moved_out = live, old, bool(old), bool(old)
    ended = restored.rollback(first)
    assert ended.exit == 0, ended.err
    assert {restored.rig.nodes[m].live for m in ("m1", "m2", "m3")} == {OLD_TOKEN}


def test_one_that_was_cleaned_after_it_was_followed_does_not_come_last(
    restored: Bench, colleague: Bench
) -> None:
    first, second = restored.state().run, restored_again(colleague)
    assert clean(restored, first, "--yes")[0] == 0
    ended = colleague.rollback(second)
    assert "another run changed these nodes" not in ended.err


def test_the_question_of_a_clean_names_the_run_that_another_machine_made(
    restored: Bench, colleague: Bench
) -> None:
    first, second = restored.state().run, restored_again(colleague)
    status, said = clean(restored, first)
    assert status == 10
    assert f"of the later run {second}" in said


def test_a_node_that_was_silent_when_the_others_were_compared_is_not_claimed(
    restored: Bench, colleague: Bench
) -> None:
    """No node answers when they are asked for their histories, and all do a moment later."""
    first, second = restored.state().run, restored_again(colleague)
    for host in restored.rig.nodes:
        restored.rig.trouble("node/records", gone(host), host=host)
    before = changes(restored)
    ended = restored.rollback(first)
    assert ended.exit in (4, 6), ended.err
    assert f"run {second} of " in ended.err and "finished here after our checks" in ended.err
    assert changes(restored) == before


def test_an_unfinished_run_that_was_followed_is_not_resumed(bench: Bench, colleague: Bench) -> None:
    """Its claims were taken away by hand, and another restore went over it."""
    bench.rig.trouble("job/start", FAILED, step="swap", host="m2", times=3)
    assert bench.restore("--replace-healthy").exit == 5
    first = bench.state().run
    for node in bench.rig.nodes.values():
        node.owner, node.fenced, node.services["etcd"] = {}, set(), True
    bench.rig.troubles.clear()
    second = restored_again(colleague)
    refused_as_followed(bench.resume(), second)
    refused_as_followed(bench.rollback(first), second)


# -- is it the journal that the nodes saw? -------------------------------------------------------


def is_refused(ended: Ended) -> None:
    assert ended.exit == 4, ended.err
    assert "is not the one the nodes saw: it was changed, or is someone else's" in ended.err
    assert "m1: up to event " in ended.err
    assert "rebuilds it from the nodes" in ended.err


@pytest.mark.parametrize("command", ["rollback", "clean"])
def test_a_rewritten_journal_is_not_believed(restored: Bench, command: str) -> None:
    run, before = restored.state().run, restored.rig.conditions()
    forge(restored.state_dir, run, another_name)
    ended = restored.drctl(command, run, "--inventory", restored.inventory, "--yes")
    is_refused(ended)
    assert restored.rig.conditions() == before
    adopted = restored.drctl("runs", "adopt", run, "-i", restored.inventory, "--gone")
    assert adopted.exit == 0, adopted.err
    assert list((restored.state_dir).rglob("journal.sqlite.aside-1"))
    assert restored.rollback().exit == 0


def test_an_unfinished_one_is_not_resumed(bench: Bench) -> None:
    bench.rig.trouble("job/start", FAILED, step="swap", host="m2", times=3)
    assert bench.restore("--replace-healthy").exit == 5
    forge(bench.state_dir, bench.state().run, another_name)
    is_refused(bench.resume())


def lie(node: Node, edit: Callable[[list[str]], list[str]]) -> None:
    """A node that tells another history, with a chain that is as it should be."""
    lines: list[str] = []
    for line in edit(node.history):
        middle = line.rsplit(" ", 1)[0].split(" ", 1)[1]
        lines.append(f"{len(lines) + 1} {middle} {line_hash(lines[-1] if lines else '')}")
    node.history = lines


def with_another_head(lines: list[str]) -> list[str]:
    return [" ".join([*x.split(" ")[:7], "f" * 64, x.split(" ")[8]]) for x in lines]


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (with_another_head, "up to event"),
        (lambda _: [], "it has no record of this run, which changed it"),
        (lambda lines: ["\x1b]0;boo\x07 " * 3, *lines], "line 1 of its history cannot be read"),
    ],
)
def test_one_node_that_differs_is_named_and_nothing_more(
    restored: Bench, edit: Callable[[list[str]], list[str]], why: str
) -> None:
    node = restored.rig.nodes["m2"]
    if "cannot be read" in why:
        node.history = edit(node.history)
    else:
        lie(node, edit)
    ended = restored.rollback()
    assert ended.exit == 0, ended.err
    assert f"warning: m2: {why}" in ended.err
    assert "\x1b]0;" not in ended.err
    (compared,) = restored.events("compared")
    assert list(compared["differ"]) == ["m2"]
    assert compared["agree"] == ["m1", "m3", "w1"]


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("field", [2, 4, 6, None])
def test_whatever_a_node_says_in_its_history(restored: Bench, kind: str, field: int | None) -> None:
    """In a field of each line, with a chain that is as it should be, or for all of it."""

    def tell(_script: str, text: str) -> str:
        told = [line for line in text.splitlines() if not line.startswith("history:")]
        lines: list[str] = []
        for line in restored.rig.nodes[LIAR].history if field else ():
            words = line.split(" ")
            words[field or 0] = HOSTILE[kind]
            words[-1] = line_hash(lines[-1]) if lines else line_hash("")
            lines.append(" ".join(words))
        return "\n".join([*told, *(f"history:{x}" for x in lines or [HOSTILE[kind]])]) + "\n"

    lies = Lies(restored, lambda s, text: tell(s, text) if s == "node/records" else text)
    ended = restored.rollback()
    lies.check(ended, restored.folder)
    assert ended.exit == 0, ended.err
    (compared,) = restored.events("compared")
    assert LIAR in compared["differ"]


def test_nodes_that_forgot_are_accepted_by_name(restored: Bench) -> None:
    for host in ("m1", "m2", "m3"):
        restored.rig.nodes[host].history = []
    ended = restored.rollback()
    assert ended.exit == 4, ended.err
    assert "most nodes have no record of run" in ended.err
    accepted = [f"--accept-drift=history.{host}" for host in ("m1", "m2", "m3")]
    assert restored.rollback(*accepted[:2]).exit == 0  # one of two is no majority


def test_nodes_that_forgot_are_cleaned_all_the_same(restored: Bench) -> None:
    """What is removed lies in the run's own folders, whoever came after."""
    for node in restored.rig.nodes.values():
        node.history = []
    status, said = clean(restored, "--yes")
    assert status == 0
    assert "warning: m1: it has no record of this run" in said


def test_a_tail_that_was_lost_is_known_afterwards(bench: Bench) -> None:
    """The events that take the numbers of the lost ones are no forgery. And each journal says of
    itself what it lost."""
    bench.rig.trouble("job/start", FAILED, step="swap", host="m2", times=3)
    assert bench.restore("--replace-healthy").exit == 5
    bench.rig.troubles.clear()
    (path,) = bench.state_dir.rglob("journal.sqlite")
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM events WHERE seq > 30")
    assert bench.resume().exit == 0
    (lost,) = bench.events("tail-lost")
    assert (lost["kept"], lost["silent"]) == (30, [])
    assert lost["hosts"] == ["m1", "m2", "m3", "w1"]
    shown = bench.drctl("runs", "show").out
    assert "the journal had lost everything after event 30, which m1, " in shown
    assert all(seq > 30 for seq in lost["heads"].values())
    assert bench.rollback().exit == 0
    assert [c["differ"] for c in bench.events("compared")] == [{}, {}]


def test_a_report_says_when_the_journal_was_last_compared(restored: Bench) -> None:
    never = "not compared with the nodes so far"
    for command in (("runs", "show"), ("runs", "report")):
        assert never in restored.drctl(*command).out
    lie(restored.rig.nodes["m2"], with_another_head)
    assert restored.rollback().exit == 0
    for command in (("runs", "show"), ("runs", "report")):
        said = " ".join(restored.drctl(*command).out.split())
        assert "not compared with the nodes for this; compared at " in said
        assert "it matched m1, m3, w1; m2: up to event" in said
    document = restored.drctl("runs", "report", "--output", "json").document
    assert document["compared"]["agree"] == ["m1", "m3", "w1"]


def test_what_a_command_was_there_for_is_remembered(restored: Bench) -> None:
    """A refused rollback, a clean: neither is a change."""
    restored.rig.written = 12
    assert restored.rollback().exit == 4
    assert clean(restored, "--yes")[0] == 0
    kinds = [e.kind for e in read_history(restored.rig.nodes["m1"].history).entries]
    assert list(dict.fromkeys(kinds)) == ["changed", "done", "cleaning", "cleaned"]
    assert list(read_history(restored.rig.nodes["m1"].history).standing()) == [restored.state().run]


def test_every_head_on_a_node_is_an_event_of_the_journal(restored: Bench) -> None:
    journal = restored.store.open(*restored.store.runs()[-1])
    for node in restored.rig.nodes.values():
        entries = read_history(node.history).entries
        assert [e.kind for e in entries][:: len(entries) - 1] == ["changed", "done"]
        assert all(journal.hash_of(e.head[0]) == e.head[1] for e in entries)
        assert {e.journal for e in entries} == {restored.state().journal}
    journal.close()
