"""Plans: what a runbook becomes on an inventory, and which runbooks are refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drctl.errors import InvalidInput
from drctl.inventory import Inventory, load_inventory
from drctl.plan.model import Plan, drift
from drctl.plan.planner import UPLOADS, Planner
from drctl.plan.runbook import VERBS, load_runbook, shipped_runbooks
from drctl.runs.judges import JUDGES
from drctl.shipped import data_folder
from tests.model.harness import INVENTORY
from tests.model.installation import made_up_installation

SNAPSHOT: dict[str, Any] = {"path": "/backup/snap.db", "size": 20512, "sha256": "5" * 64}
HEAD = "runbook: own\nsource: here\nphases:\n- title: one\n  steps:\n"


@pytest.fixture(scope="module")
def inventory() -> Inventory:
    return load_inventory(INVENTORY)


def planner(inventory: Inventory, **options: Any) -> Planner:
    facts = {"snapshot": SNAPSHOT, "prepare": made_up_installation(inventory)}
    return Planner(inventory, facts, options, SNAPSHOT["path"], frozenset(JUDGES))


@pytest.fixture
def own(tmp_path: Path, inventory: Inventory) -> Any:
    """Plan a runbook with these steps (the first one stands in line 6)."""

    def own(*steps: str, head: str = HEAD, **options: Any) -> Plan:
        path = tmp_path / "own.yaml"
        path.write_text(head + "".join(f"  - {step}\n" for step in steps))
        return planner(inventory, **options).plan(load_runbook(str(path)))

    return own


GATHER = "{id: look, hosts: etcd, gather: etcd/live}"


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (
            "{id: x, hosts: etcd, gather: etcd/live, judge: etcd.wrong}",
            "no such judge: etcd.wrong; known: ",
        ),
        ("{id: x, service: nothing, want: fenced}", "has no service 'nothing'"),
        ("{id: x, hosts: nobody, gather: etcd/live}", "has no group or host 'nobody'"),
        ("{id: x, service: etcd, want: fenced, hosts: workers}", "no host to run on"),
        ("{id: x, hosts: etcd, gather: etcd/nothing}", "template etcd/nothing"),
        ("{id: x, hosts: etcd, run: etcd/live}", "template etcd/live/observe"),
        ("{id: x, hosts: workers, gather: etcd/live}", "UndefinedError"),
        (
            "{id: x, hosts: etcd, run: etcd/restore}",
            "uses the value 'token', which no earlier step",
        ),
    ],
)
def test_a_step_that_does_not_fit_is_refused(own: Any, step: str, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        own(GATHER, step)
    assert caught.value.exit_code == 3
    assert words in str(caught.value)
    assert all(fault.path == "own: x" for fault in caught.value.faults)


def test_every_fault_is_told_at_once(own: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        own("{id: x, service: nothing, want: fenced}", "{id: y, hosts: no, gather: etcd/live}")
    assert [fault.path for fault in caught.value.faults] == ["own: x", "own: y"]


def test_a_value_is_known_only_after_its_step(own: Any) -> None:
    facts = "{id: facts, hosts: etcd, gather: etcd/facts, yields: [stage, wal_stage]}"
    clean = "{id: clean, hosts: etcd, run: stage/clean}"
    assert own(facts, clean).step("clean").tasks["m1"].env["DRCTL_STAGE"] == "value stage"
    with pytest.raises(InvalidInput, match="uses the value 'stage'"):
        own(clean, facts)


def test_vars_are_values(own: Any) -> None:
    clean = "{id: clean, hosts: etcd, run: stage/clean}"
    assert own(clean, vars={"stage": "/x", "wal_stage": ""}).step("clean")
    with pytest.raises(InvalidInput, match="--var token: the runbook generates this value"):
        own(
            GATHER,
            head=HEAD.replace("phases", "values: {token: {new: token}}\nphases"),
            vars={"token": "x"},
        )


def test_optional_steps_without_hosts_are_left_out(own: Any) -> None:
    step = "{id: x, service: etcd, want: fenced, hosts: workers, optional: true}"
    assert [s.id for s in own(GATHER, step).steps] == ["look"]


def test_optional_does_not_hide_a_wrong_name(own: Any) -> None:
    with pytest.raises(InvalidInput, match="has no service 'nothing'"):
        own("{id: x, service: nothing, want: fenced, optional: true}")


def test_taking_back_is_rollbacks_alone(inventory: Inventory) -> None:
    with pytest.raises(InvalidInput, match="only `drctl rollback` has a run to roll back"):
        planner(inventory).plan(load_runbook("rollback"))


def test_kubelets_restart_fifty_at_a_time(inventory: Inventory) -> None:
    plan = planner(inventory).plan(load_runbook("restore"))
    assert {step.id for step in plan.steps if step.at_once} == {"restart-kubelet"}
    assert plan.step("restart-kubelet").at_once == 50


def test_checks_end_before_the_first_change(inventory: Inventory) -> None:
    plan = planner(inventory).plan(load_runbook("restore-staged"))
    checks = ["machine", "facts", "reading", "settings", "nobody-else", "live", "ready"]
    assert [s.id for s in plan.checks().steps] == checks


def test_hosts_are_owned_in_one_order(inventory: Inventory) -> None:
    plan = planner(inventory).plan(load_runbook("restore"))
    assert plan.owns == ("m1", "m2", "m3", "w1")


def test_equal_plans_mean_the_same(inventory: Inventory) -> None:
    one, two = (planner(inventory).plan(load_runbook("restore")) for _ in range(2))
    assert one.digest == two.digest
    staged = planner(inventory).plan(load_runbook("restore-staged"))
    assert one.digest != staged.digest
    changed = drift(one.meaning, {**one.meaning, "members.m1.data_dir": "/x"})
    assert changed == {"members.m1.data_dir": ("/var/lib/etcd", "/x")}
    assert drift({"a": "1"}, {"b": "2"}) == {"a": ("1", "(absent)"), "b": ("(absent)", "2")}
    assert replace(one, meaning={}).digest != one.digest


# -- runbook files ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "line", "words"),
    [
        (["{id: x, hosts: etcd}"], 6, "exactly one of gather"),
        (["{id: x, hosts: etcd, gather: a/b, run: c/d}"], 6, "exactly one of gather"),
        ([GATHER, "{id: look, hosts: etcd, gather: etcd/live}"], 7, "already used on line 6"),
        ([GATHER, "{id: x, hosts: etcd, gather: a/b, pateince: 3}"], 7, "pateince"),
        (["{id: X Y, hosts: etcd, gather: a/b}"], 6, "id"),
        (["{id: x, service: etcd}"], 6, "`service` and `want` are needed together"),
        (["{id: x, service: etcd, want: dead}"], 6, "fenced"),
        (["{id: x, hosts: etcd, run: a/b, patience: 3}"], 6, "need `gather`"),
        (["{id: x, gather: a/b}"], 6, "no hosts: give"),
        (["{id: x, hosts: etcd, gather: ../../etc/passwd}"], 6, "pattern"),
        ([GATHER, "{id: x, hosts: etcd, gather: a/b, deadline: -1}"], 7, "deadline"),
        (["{id: x, hosts: etcd, gather: a/b, id: y}"], 6, "id"),
        (["{id: x, hosts: [etcd"], 7, ""),
    ],
)
def test_a_mistake_is_told_with_its_line(own: Any, steps: list[str], line: int, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        own(*steps)
    assert re.search(rf"own\.yaml:{line}\b.*{re.escape(words)}", str(caught.value)), caught.value


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (HEAD.replace("source: here\n", ""), "source"),
        (HEAD.replace("here", "here\nvalues: {x: {new: magic}}"), "values.x.new"),
        ("runbook: own\nsource: here\nphases: []\n#", "phases"),
        ("runbook: own\nsource: here\nphases:\n- {title: nothing}\n#", "either `steps` or `undo"),
    ],
)
def test_a_mistake_in_the_head(own: Any, head: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(words)):
        own(GATHER, head=head)


def test_no_such_runbook() -> None:
    with pytest.raises(InvalidInput, match=r"not a file, nor shipped .*restore-staged.*"):
        load_runbook("restroe")


# -- what is shipped ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", shipped_runbooks())
def test_a_shipped_runbook_cites_its_source(name: str) -> None:
    book = load_runbook(name)
    assert book.runbook == name
    assert book.title
    assert re.search(r"operations notes on etcd: '.+'|docs/[a-z]+\.md", book.source), book.source


def test_both_orders_have_the_same_steps() -> None:
    plain, staged = (load_runbook(name).steps for name in ("restore", "restore-staged"))
    more = {"still-above", "rebuild-again"}
    assert {s.id for s in staged} - {s.id for s in plain} == more
    by_id = {step.id: step for step in plain}
    gentle: dict[str, dict[str, Any]] = {
        "tried": {"yields": ("slow_disks",)},
        "rebuild": {"last": "slow_disks"},
        "send": {"rate": 100},
    }
    for step in staged:
        if step.id not in more:
            assert by_id[step.id].model_copy(update=gentle.get(step.id, {})) == step


MANAGERS = ("systemd", "command", "static-pod", "docker", "podman")
TOOL_SOURCES = ("host", "image", "upload", "docker", "podman")


def used_templates() -> set[str]:
    """What runbooks and code name, and what that includes. `service/*` by manager and want."""
    folder = data_folder("templates")
    named = {
        f"service/{want}/{part}"
        for want in ("fenced", "running", "restarted", "blank")
        for part in ("observe", "act")
    }
    named |= {f"service/managers/{manager}" for manager in MANAGERS}
    named |= {f"service/installed/{manager}" for manager in MANAGERS}
    named |= {f"kube/written/{manager}" for manager in MANAGERS}
    named |= {f"kube/stopped-by/{manager}" for manager in MANAGERS}
    named |= {f"etcd/tool/{source}" for source in TOOL_SOURCES}
    for name in shipped_runbooks():
        for step in load_runbook(name).steps:
            assert step.verb in VERBS
            action = step.gather or step.run or UPLOADS.get(step.upload or "", "")
            named |= {action, f"{action}/observe", f"{action}/act"}
    named |= {
        f"{name.removesuffix('/act')}/undo/{part}" for name in named for part in ("observe", "act")
    }
    for path in (folder.parent / "drctl").rglob("*.py"):
        named |= set(re.findall(r"render(?:_script|_html)?\(\s*f?\"([^\"]+)\"", path.read_text()))
        named |= {
            f"job/{name}"
            for name in re.findall(r'_(?:call|follow)\(host, "(\w+)"', path.read_text())
        }
    todo = {f"{name.removesuffix('.sh')}.sh.j2" for name in named}
    todo |= {f"{name}.html.j2" for name in named}
    used: set[str] = set()
    while todo:
        name = todo.pop()
        path = folder / name
        if name in used or not path.is_file():
            continue
        used.add(name)
        todo |= set(re.findall(r'{%\s*(?:include|import|extends)\s+"([^"~]+)"', path.read_text()))
    return used


def test_every_template_is_used() -> None:
    folder = data_folder("templates")
    shipped = {str(p.relative_to(folder)) for p in folder.rglob("*.j2")}
    idle = {name for name in shipped - used_templates() if not name.startswith("lab/")}
    assert idle <= {
        "job/wait.sh.j2",  # _follow's second question, named by a variable
        "node/records.sh.j2",  # records.ask, named by its caller
        "node/runs.sh.j2",
    }
    assert "etcd/live.sh.j2" in used_templates()
