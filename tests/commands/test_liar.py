"""One node among three lies: nothing of what it says runs anywhere, no other host is affected, the
operator is told which one it is, and the others are taken back all the same."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from drctl.errors import StepFailed
from drctl.transport import CommandResult, Script
from tests.commands.test_resume import FAILED
from tests.support.bench import Bench
from tests.support.liar import DEED, HOSTILE, LIAR, Lies, every_field, in_documents

pytestmark = pytest.mark.slow  # tests/etcd/test_lying_host.py is in `make check`

LOOKS = (
    "node/machine",
    "node/owner",
    "etcd/facts",
    "try/report",
    "etcd/live",
    "etcd/living",
    "etcd/state",
    "etcd/state/at",
    "backup/look",
    "etcd/restored",
    "etcd/written",
    "etcd/probe",
    "etcd/kept",
    "kube/health",
    "kube/ready",
    "kube/settings",
    "node/reading",
    "kube/secrets",
)
OTHERS = ("m2", "m3")


@pytest.fixture
def broken(bench: Bench) -> Bench:
    """A restore that failed after the exchange of the data on two hosts."""
    bench.rig.trouble("job/start", FAILED, step="start-etcd", host="m2", times=3)
    assert bench.restore("--replace-healthy").exit == 5
    bench.rig.troubles.clear()
    return bench


def conditions(bench: Bench) -> dict[str, Any]:
    return {host: bench.rig.nodes[host].condition() for host in OTHERS}


def forge(bench: Bench, host: str, change: dict[str, object], name: str = "manifest.json") -> None:
    papers = bench.rig.nodes[host].papers
    for paper, text in papers.items():
        if paper.endswith(name):
            papers[paper] = json.dumps({**json.loads(text), **change})


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("command", ["preflight", "status", "verify", "dry run", "restore"])
def test_whatever_it_answers_to_questions(bench: Bench, command: str, kind: str) -> None:
    lies = Lies(bench, lambda s, text: every_field(HOSTILE[kind])(s, text) if s in LOOKS else text)
    if command == "restore":
        ended = bench.restore("--replace-healthy")
    elif command == "dry run":
        ended = bench.restore("--replace-healthy", "--dry-run")
    else:
        ended = bench.drctl(command, "--inventory", bench.inventory)
    lies.check(ended, bench.folder)
    assert lies.said or not HOSTILE[kind]
    if command == "restore":
        assert ended.exit not in (0, 2, 3)
        assert LIAR in ended.err


@pytest.mark.parametrize("kind", ["substitution", "number", "control"])
@pytest.mark.parametrize("script", LOOKS)
def test_whatever_one_script_answers_from_there(bench: Bench, script: str, kind: str) -> None:
    """In the middle of a run too, where what was asked before was true."""
    lie = every_field(HOSTILE[kind])
    lies = Lies(bench, lambda s, text: lie(s, text) if s == script else text)
    restored = bench.restore("--replace-healthy")
    lies.check(restored, bench.folder)
    lies.check(bench.rollback(), bench.folder)


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("act", ["observe", "job"])
def test_whatever_it_answers_while_something_is_done(bench: Bench, act: str, kind: str) -> None:
    def tell(script: str, text: str) -> str:
        asked = script.endswith("/observe") if act == "observe" else script.startswith("job/")
        return every_field(HOSTILE[kind])(script, text) if asked else text

    lies = Lies(bench, tell)
    ended = bench.restore("--replace-healthy")
    lies.check(ended, bench.folder)


@pytest.mark.parametrize("kind", HOSTILE)
def test_whatever_it_keeps_of_a_run(broken: Bench, kind: str) -> None:
    before = conditions(broken)
    lies = Lies(broken, in_documents(HOSTILE[kind]))
    for command in (broken.resume, broken.rollback):
        ended = command()
        lies.check(ended, broken.folder)
        assert ended.exit == 4
        assert f"error: {LIAR}: its records of run" in ended.err
        back = f"--inventory {broken.inventory} --without {LIAR}. After an intrusion"
        assert back in ended.err  # what is to be typed can be typed
        assert "what to rotate" in ended.err
    assert conditions(broken) == before
    assert lies.said == 2


@pytest.mark.parametrize("status", [1, 75, 77])
@pytest.mark.parametrize(
    "act", ["job/claim", "job/start", "job/owned", "job/release", "etcd/living"]
)
def test_however_much_it_complains(bench: Bench, act: str, status: int) -> None:
    """It would stand in the journal, and on the terminal, for every attempt."""
    run = bench.rig.run

    def complain(host: str, script: Script, *more: Any, **how: Any) -> CommandResult:
        told = run(host, script, *more, **how)
        if (host, script.name) != (LIAR, act):
            return told
        bench.rig.clock.sleep(1)
        return CommandResult(status, "x" * 2**20, "y" * 2**20)

    bench.monkeypatch.setattr(bench.rig, "run", complain)
    ended = bench.restore("--replace-healthy")
    assert ended.exit != 1
    assert len(ended.err) < 30_000
    assert all(len(json.dumps(event)) < 10_000 for event in bench.events("result"))
    assert all(len(json.dumps(event)) < 10_000 for event in bench.events("finished"))


def test_the_others_are_taken_back_without_it_and_it_when_it_is_mended(bench: Bench) -> None:
    first = bench.rig.conditions()
    bench.rig.trouble("job/start", FAILED, step="start-etcd", host="m2", times=3)
    assert bench.restore("--replace-healthy").exit == 5
    lies = Lies(bench, in_documents(HOSTILE["substitution"]))
    left = bench.rig.nodes[LIAR].condition()
    calls = len(bench.rig.calls)
    ended = bench.rollback("--without", LIAR)
    assert ended.exit == 0, ended.err
    lies.check(ended, bench.folder)
    assert LIAR not in {host for host, _ in bench.rig.calls[calls:]}
    assert conditions(bench) == {host: first[host] for host in OTHERS}
    assert bench.rig.nodes[LIAR].condition() == left
    assert f"LEFT OUT: {LIAR}: not rolled back" in ended.err
    shown = bench.drctl("runs", "show", "--output", "json").document
    assert (shown["state"], shown["next"].split()[:2]) == ("rolled-back", ["drctl", "status"])
    assert shown["situation"]["word"] == "partly-taken-back"
    lies.end()
    again = bench.rollback()
    assert again.exit == 0, again.err
    assert bench.rig.conditions() == first
    assert "LEFT OUT" not in again.err
    assert bench.rollback().exit == 2


def test_one_that_floods_the_answer_is_not_believed_either(broken: Bench) -> None:
    flood = StepFailed("node/records ended with status 0, but wrote 99999999 bytes")
    broken.rig.trouble("node/records", flood, host=LIAR, times=9)
    ended = broken.rollback()
    assert ended.exit == 4
    assert f"error: {LIAR}: its records of run" in ended.err
    assert broken.rollback("--without", LIAR).exit == 0
    broken.state_dir.rename(broken.folder / "gone")
    adopted = broken.drctl("runs", "adopt", "-i", broken.inventory)
    assert adopted.exit == 0, adopted.err
    assert f"warning: {LIAR}: its records are not trusted" in adopted.err


def test_without_needs_a_host_of_the_run_and_leaves_one(broken: Bench) -> None:
    unknown = broken.rollback("--without", "m9")
    assert (unknown.exit, "--without m9: not a host of this run" in unknown.err) == (2, True)
    nobody = [word for host in ("m1", "m2", "m3", "w1") for word in ("--without", host)]
    assert broken.rollback(*nobody).exit == 2


def test_a_raised_number_makes_nobody_believe_a_value(broken: Bench) -> None:
    """The first thing that was found: with one manifest edited, a rollback ran `id` as root on all
    nodes, and the poisoned value was journalled."""
    forge(broken, LIAR, {"values_at": 10**6, "values": {"proven_revision": f"1 …; {{ {DEED}; }}"}})
    lies = Lies(broken, lambda _s, text: text)
    ended = broken.rollback()
    lies.check(ended, broken.folder)
    assert ended.exit == 4
    assert f"error: {LIAR}: its records of run" in ended.err
    assert "proven_revision" in ended.err
    assert "proven_revision" not in broken.state().values


@pytest.mark.parametrize(
    "values", [{"proven_revision": 1}, {"bump": "1"}, {"stage": {"m2": "/etc"}}, {"token": "mine"}]
)
def test_a_value_that_one_alone_tells_is_not_believed(
    broken: Bench, values: dict[str, object]
) -> None:
    known = broken.state().values
    text = next(t for n, t in broken.rig.nodes[LIAR].papers.items() if n.endswith("manifest.json"))
    forge(broken, LIAR, {"values_at": 10**6, "values": {**json.loads(text)["values"], **values}})
    assert broken.rollback().exit == 0
    now = broken.state().values
    assert {name: now[name] for name in known} == known


def test_a_step_that_one_alone_says_it_began_is_not_over_on_the_others(bench: Bench) -> None:
    """Else a resume would start etcd on the others' old data."""
    bench.rig.trouble("job/start", FAILED, step="send", host="m2", times=3)
    assert bench.restore("--replace-healthy").exit == 5
    bench.rig.troubles.clear()
    node, run = bench.rig.nodes[LIAR], bench.state().run
    node.started[f"{run}/start-apiserver-1"] = [
        "step=start-apiserver",
        "epoch=1",
        "direction=forward",
        '{"state": "before"}',
    ]
    node.jobs[f"{run}/start-apiserver-1"] = 0
    assert bench.resume().exit == 0
    assert all(bench.rig.nodes[host].effects["swap"] == 1 for host in ("m1", "m2", "m3"))


@pytest.mark.parametrize("kind", HOSTILE)
def test_whatever_it_answers_to_a_clean_and_keeps_for_it(bench: Bench, kind: str) -> None:
    assert bench.restore("--replace-healthy").exit == 0
    for tell in (every_field(HOSTILE[kind]), in_documents(HOSTILE[kind])):
        lies = Lies(bench, tell)
        ended = bench.drctl("clean", "--inventory", bench.inventory, "--yes")
        lies.check(ended, bench.folder)
        lies.end()
        assert ended.exit != 0
        assert LIAR in ended.err
    assert all(bench.rig.nodes[host].kept for host in OTHERS)


@pytest.mark.parametrize("kind", HOSTILE)
def test_whatever_it_answers_to_a_backup(bench: Bench, kind: str) -> None:
    bench.rig.handlers["backup/save"] = lambda _h, _s, _e: "file=/x\nsize=1\nsha256=ab\n"
    bench.rig.handlers["backup/remove"] = lambda _h, _s, _e: ""
    lies = Lies(bench, every_field(HOSTILE[kind]))
    to = bench.folder / "to"
    lies.check(bench.drctl("backup", "--inventory", bench.inventory, "--to", to), bench.folder)
    assert not to.exists() or not list(to.iterdir())


@pytest.mark.parametrize("kind", HOSTILE)
def test_adopt_goes_by_the_others(broken: Bench, kind: str) -> None:
    broken.state_dir.rename(broken.folder / "gone")
    lies = Lies(broken, in_documents(HOSTILE[kind]))
    ended = broken.drctl("runs", "adopt", "-i", broken.inventory)
    lies.check(ended, broken.folder)
    assert ended.exit == 0, ended.err
    assert f"warning: {LIAR}: its records are not trusted" in ended.err
    taken = broken.rollback("--without", LIAR)
    lies.check(taken, broken.folder)
    assert taken.exit == 0, taken.err


def numbers(paper: str, number: int) -> Callable[[str, str], str]:
    """The liar's sessions or attempts are `number`."""

    def tell(script: str, text: str) -> str:
        if script != "node/records":
            return text
        if paper == "attempt":
            return re.sub(r"(/jobs/[a-z-]+)-1/", rf"\g<1>-{number}/", text)
        if paper == "manifest":
            return re.sub(r'(manifest.json:.*"epoch": )[0-9]+', rf"\g<1>{number}", text)
        return re.sub(rf"({paper}:epoch=)[0-9]+", rf"\g<1>{number}", text)

    return tell


NUMBERS = [(paper, 999_999) for paper in ("owner", "started", "manifest", "attempt")]


@pytest.mark.parametrize(("paper", "number"), [*NUMBERS, ("owner", 1_000_000)])
def test_it_cannot_use_up_the_numbers_of_sessions_and_attempts(
    broken: Bench, paper: str, number: int
) -> None:
    """Else the next session would have one that nobody reads any more, on all hosts."""
    lies = Lies(broken, numbers(paper, number))
    for command in (broken.resume, broken.rollback):
        ended = command()
        assert ended.exit == 4
        assert f"error: {LIAR}: its records of run" in ended.err
        assert "same here" not in ended.err
    assert lies.said == 2
    lies.end()
    assert broken.state().epoch == 1
    assert broken.resume().exit == 0
    assert broken.rollback("--lose-writes").exit == 0


@pytest.mark.parametrize(("paper", "number"), NUMBERS)
def test_nor_when_the_run_is_adopted(broken: Bench, paper: str, number: int) -> None:
    broken.state_dir.rename(broken.folder / "gone")
    lies = Lies(broken, numbers(paper, number))
    ended = broken.drctl("runs", "adopt", "-i", broken.inventory)
    assert ended.exit == 0, ended.err
    assert f"warning: {LIAR}: its records are not trusted" in ended.err
    lies.end()
    assert broken.rollback().exit == 0
    assert broken.state().epoch == 2


@pytest.mark.parametrize(
    ("field", "lie"),
    [
        ("snapshot", {"sha256": "0" * 64}),
        ("cluster", "another"),
        ("owner", "20260101-000000-abcdef"),
    ],
)
def test_it_cannot_bar_an_adoption(bench: Bench, field: str, lie: object) -> None:
    first = bench.rig.conditions()
    bench.rig.trouble("job/start", FAILED, step="start-etcd", host="m2", times=3)
    assert bench.restore("--replace-healthy").exit == 5
    bench.state_dir.rename(bench.folder / "gone")
    kept = dict(bench.rig.nodes[LIAR].papers)
    owner = dict(bench.rig.nodes[LIAR].owner)
    if field == "owner":
        bench.rig.nodes[LIAR].owner["run"] = str(lie)
    forge(bench, LIAR, {field: lie} if field != "owner" else {})
    adopt = ("runs", "adopt", "-i", bench.inventory)
    ended = bench.drctl(*adopt)
    assert ended.exit in (4, 9)
    assert f"--without {LIAR}" in ended.err or "--without HOST" in ended.err
    assert bench.drctl(*adopt, "--without", LIAR).exit == 0
    taken = bench.rollback("--without", LIAR)
    assert taken.exit == 0, taken.err
    assert conditions(bench) == {host: first[host] for host in OTHERS}
    bench.rig.nodes[LIAR].papers.update(kept)
    bench.rig.nodes[LIAR].owner = owner
    again = bench.rollback()
    assert again.exit == 0, again.err
    assert bench.rig.conditions() == first


def test_an_adoption_leaves_out_hosts_that_there_are(broken: Bench) -> None:
    adopt = ("runs", "adopt", "-i", broken.inventory)
    assert broken.drctl(*adopt, "--without", "m9").exit == 2
    all_of_them = [word for host in ("m1", "m2", "m3", "w1") for word in ("--without", host)]
    assert broken.drctl(*adopt, *all_of_them).exit == 2


def test_it_cannot_fill_the_journal_with_jobs(broken: Bench) -> None:
    def tell(script: str, text: str) -> str:
        if script != "node/records":
            return text
        begun = ("step=s", "epoch=1", "direction=forward", '{"state": "before"}')
        run = broken.state().run
        return text + "".join(
            f"{run}/jobs/s{n}-1/started:{line}\n" for n in range(3000) for line in begun
        )

    lies = Lies(broken, tell)
    known = len(broken.events("intent"))
    ended = broken.rollback()
    assert ended.exit == 4
    assert "it reports" in ended.err
    lies.end()
    assert len(broken.events("intent")) == known


def test_a_value_that_lacks_its_host_is_no_accident(broken: Bench) -> None:
    """Where it alone answers, what it keeps is what is known."""
    broken.state_dir.rename(broken.folder / "gone")
    broken.rig.silent = {"m2", "m3", "w1"}
    text = next(t for n, t in broken.rig.nodes[LIAR].papers.items() if n.endswith("manifest.json"))
    values: dict[str, Any] = {name: {} for name in ("stage", "wal_stage", "owner", "mode")}
    forge(broken, LIAR, {"values": {**json.loads(text)["values"], **values}})
    assert broken.drctl("runs", "adopt", "-i", broken.inventory).exit == 0
    for more in ((), ("--without", "m2", "--without", "m3", "--without", "w1")):
        ended = broken.rollback(*more)
        assert ended.exit not in (0, 1)
    assert f"error: {LIAR}: " in ended.err
    assert "is unknown" in ended.err


def test_a_path_of_this_machine_that_nodes_name_is_not_opened(broken: Bench) -> None:
    broken.state_dir.rename(broken.folder / "gone")
    evil = broken.runbook("runbook: evil\nphases: []\n")
    for host in ("m1", "m2", "m3", "w1"):
        forge(broken, host, {"runbook": str(evil)})
    ended = broken.drctl("runs", "adopt", "-i", broken.inventory)
    assert ended.exit == 3
    assert f"the run used its own runbook: {evil}" in ended.err
    assert "--runbook" in ended.err


def test_runs_that_it_names_become_no_path(broken: Bench) -> None:
    broken.state_dir.rename(broken.folder / "gone")
    broken.rig.nodes[LIAR].owner = {}
    names = "".join(
        f"run:{name}\n" for name in ("../../x", "99999999-999999-ffffff", "a b", "\x1b")
    )
    lies = Lies(broken, lambda s, text: names if s == "node/runs" else text)
    for node in broken.rig.nodes.values():
        node.owner = {}
    ended = broken.drctl("runs", "adopt", "-i", broken.inventory)
    lies.check(ended, broken.folder)
    assert ended.exit == 0, ended.err
