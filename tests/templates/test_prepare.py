"""prepare/install, etcd/blank and service/blank: nothing is replaced, and all of it goes away."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.templates.newhost import FILES, NewHost
from tests.templates.shells import Shell


@pytest.fixture
def host(shell: Shell, tmp_path: Path) -> NewHost:
    return NewHost(tmp_path / "n", shell)


@pytest.fixture
def quick(dash: Shell, tmp_path: Path) -> NewHost:
    return NewHost(tmp_path / "n", dash)


# -- install ------------------------------------------------------------------------------------


def test_everything_gets_its_place_its_mode_and_its_owner(host: NewHost) -> None:
    seen = host.observe("install")
    assert seen["state"] == "before"
    assert {name for name in seen if name.startswith("target_")} >= {f"target_{n}" for n in FILES}
    host.install()
    for name, mode in FILES.items():
        assert host.paths[name].read_text() == host.content[name]
        assert f"{host.paths[name].stat().st_mode & 0o777:o}" == mode
    assert "--initial-cluster=m1=https://127.0.83.1:2380" in host.unit.read_text()
    assert host.paths["etcd"].parent.stat().st_mode & 0o777 == 0o755
    assert not (host.root / "work/r1/files").exists()
    assert not list(host.root.rglob("*.drctl-r1"))
    assert host.log()[-1] == "enable etcd"


def test_the_unit_does_not_begin_a_cluster_by_itself(quick: NewHost) -> None:
    quick.install()
    unit = quick.unit.read_text()
    assert "Environment=ETCD_INITIAL_CLUSTER_STATE=existing" in unit
    assert "initial-cluster-token" not in unit and "--heartbeat-interval=200 \\\n" in unit
    assert f"User={quick.owner}" in unit and "\\\n\n" not in unit.partition("Restart=")[0][:-1]


def test_a_host_that_has_it_all_is_left_alone(host: NewHost) -> None:
    host.install()
    inode = host.paths["etcd"].stat().st_ino
    (host.root / "work/r1/installed").unlink()
    assert host.observe("install")["state"] == "after"
    assert host.act("install").status == 0
    assert host.paths["etcd"].stat().st_ino == inode
    assert host.state("undo install") == "after"  # nothing of it is this run's
    assert host.act("undo install").status == 0
    assert host.paths["etcd"].exists() and host.unit.exists()


@pytest.mark.parametrize("name", [*FILES, "unit"])
def test_what_is_there_is_never_replaced(quick: NewHost, name: str) -> None:
    path = quick.paths[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("somebody else's")
    before = quick.observe("install")
    assert (before["state"], str(path) in before["why"]) == ("unknown", True)
    quick.send()
    ran = quick.act("install")
    assert ran.status != 0 and f"another file is at {path}" in ran.err
    assert path.read_text() == "somebody else's"
    assert quick.act("undo install").status == 0
    assert path.read_text() == "somebody else's"
    assert not any(quick.paths[other].exists() for other in quick.paths if other != name)


@pytest.mark.parametrize("what", ["folder", "dangling"])
def test_nor_is_a_folder_or_a_link_that_leads_nowhere(quick: NewHost, what: str) -> None:
    path = quick.paths["etcdctl"]
    path.parent.mkdir(parents=True)
    path.mkdir() if what == "folder" else path.symlink_to("/nowhere")
    assert quick.state("install") == "unknown"


def test_a_program_that_cannot_be_run_is_not_the_same(quick: NewHost) -> None:
    quick.install()
    quick.paths["etcd"].chmod(0o644)
    assert quick.state("install") == "unknown"


def test_a_copy_that_was_damaged_on_its_way_is_not_installed(quick: NewHost) -> None:
    quick.send()
    (quick.root / "work/r1/files/etcdutl").write_text("damaged")
    ran = quick.act("install")
    assert ran.status != 0 and "differs" in ran.err
    assert not quick.paths["etcdutl"].exists() and quick.state("install") == "before"
    quick.install()


@pytest.mark.slow
def test_an_installation_killed_at_every_call_goes_on(quick: NewHost) -> None:
    blank = quick.everything()
    for n in range(1, 200):
        quick.forget()
        quick.send()
        if not quick.killed("install", f"{'before' if n % 2 else 'after'} {n}"):
            break
        if n % 3 == 0:
            quick.install()
        assert quick.act("undo install").status == 0, n
        assert quick.state("undo install") == "after", n
        assert quick.everything() == blank, n
    assert n > 25


def test_what_was_put_there_since_stays(quick: NewHost) -> None:
    quick.install()
    path = quick.paths["etcdctl"]
    path.unlink()
    path.write_text("a newer one")
    assert quick.state("undo install") == "before"
    assert quick.act("undo install").status == 0
    assert quick.state("undo install") == "after"
    assert path.read_text() == "a newer one" and not quick.paths["etcd"].exists()


def test_nothing_is_taken_away_under_an_etcd_that_runs(quick: NewHost) -> None:
    quick.install()
    (quick.root / "svc/up/etcd").touch()
    ran = quick.act("undo install")
    assert ran.status != 0 and "etcd is running" in ran.err
    assert all(path.exists() for path in quick.paths.values())


def test_what_a_boot_started_and_cannot_come_up_is_stopped_and_taken_away(quick: NewHost) -> None:
    """The unit is enabled, there is no data yet, and it restarts for ever."""
    quick.install()
    (quick.root / "svc/up/etcd").write_text("activating")
    assert quick.act("undo install").status == 0
    assert "stop etcd" in quick.log()
    assert not any(path.exists() for path in quick.paths.values())


# -- facts --------------------------------------------------------------------------------------


def facts(host: NewHost) -> dict[str, str]:
    task = host.plan.step("blank").tasks["m1"]
    assert task.observe
    ran = host.shell.stdin(task.observe.body, host.env(task, {}))
    assert ran.status == 0, ran
    return ran.fields


def test_facts_of_a_blank_host(host: NewHost) -> None:
    found = facts(host)
    assert all(found[f"there.{name}"] == f"absent {path}" for name, path in host.paths.items())
    assert found["arch"] == os.uname().machine
    names = ("unit_elsewhere", "drop_ins", "owner_missing", "owner_wrong", "holds", "ports_taken")
    assert [found[name] for name in names] == [""] * 6


def test_an_owner_by_number_is_who_he_is(shell: Shell, tmp_path: Path) -> None:
    host = NewHost(tmp_path / "n", shell, owner=f"{os.getuid()}:{os.getgid()}")
    host.data.mkdir()
    found = facts(host)
    assert (found["owner_missing"], found["owner_wrong"]) == ("", "")
    stranger = NewHost(tmp_path / "s", shell, owner="64999:64999")
    stranger.data.mkdir()
    assert facts(stranger)["owner_wrong"] == str(stranger.data)
    nobody = NewHost(tmp_path / "x", shell, owner="no-such:no-such-either")
    missing = "the user no-such and the group no-such-either"
    assert facts(nobody)["owner_missing"] == missing


def test_facts_of_a_host_that_is_not_blank(host: NewHost) -> None:
    host.install()
    host.paths["ca"].write_text("another")
    (host.data / "member").mkdir(parents=True)
    (host.root / "svc/fragment").write_text("FragmentPath=/lib/systemd/system/etcd.service\n")
    (host.root / "svc/drop-ins").write_text("DropInPaths=/etc/x.conf\n")
    found = facts(host)
    assert found["there.ca"] == f"other {host.paths['ca']}"
    assert found["there.unit"] == f"same {host.unit}"
    assert found["holds"] == f"{host.data}/member"
    assert found["unit_elsewhere"] == "/lib/systemd/system/etcd.service"
    assert found["drop_ins"] == "/etc/x.conf"


def test_a_file_system_s_own_folder_is_no_data(quick: NewHost) -> None:
    (quick.data / "lost+found").mkdir(parents=True)
    (quick.data / ".drctl").mkdir()
    assert facts(quick)["holds"] == ""


# -- the blank cluster --------------------------------------------------------------------------


def started(host: NewHost) -> None:
    for step in ("install", "empty", "start-blank"):
        assert host.state(step) == "before", step
        if step == "install":
            host.send()
        ran = host.act(step)
        assert ran.status == 0, ran
        assert host.state(step) == "after", step


@pytest.mark.parametrize("wal", [False, True])
def test_a_blank_member_comes_and_goes(shell: Shell, tmp_path: Path, wal: bool) -> None:
    host = NewHost(tmp_path / "n", shell, wal=wal)
    blank = host.everything()
    started(host)
    told = (host.root / "svc/started-with").read_text()
    assert "ETCD_INITIAL_CLUSTER_STATE=new" in told and "TOKEN=t-r1-blank" in told
    assert not (host.root / "run/etcd.service.d").exists()  # for that start only
    assert host.data.stat().st_mode & 0o777 == 0o700
    for step in ("undo start-blank", "undo empty", "undo install"):
        assert host.state(step) == "before", step
        assert host.act(step).status == 0, step
        assert host.state(step) == "after", step
    (host.root / "run").rmdir()
    assert host.everything() == blank
    old = host.data.with_name("etcd.drctl") / "r1/old/blank/member"
    assert (old / "snap").is_dir() and (wal or (old / "wal/0.wal").is_file())
    assert not wal or (host.root / "wal/w.drctl/r1/old/blank/0.wal").is_file()


def test_where_there_is_data_no_blank_cluster_is_begun(quick: NewHost) -> None:
    quick.values["start_blank"] = "no"
    (quick.data / "member").mkdir(parents=True)
    assert quick.state("empty") == quick.state("start-blank") == "after"


def test_data_that_appeared_since_stops_it(quick: NewHost) -> None:
    quick.install()
    (quick.data / "member").mkdir(parents=True)
    assert quick.state("empty") == quick.state("start-blank") == "unknown"
    ran = quick.act("start-blank")
    assert ran.status != 0 and "not this run's" in ran.err
    assert "start etcd" not in quick.log()


def test_a_directory_that_is_there_stays_as_it_is(quick: NewHost) -> None:
    quick.data.mkdir(parents=True)
    quick.data.chmod(0o750)
    started(quick)
    for step in ("undo start-blank", "undo empty"):
        assert quick.act(step).status == 0
    assert quick.data.stat().st_mode & 0o777 == 0o750 and not list(quick.data.iterdir())


def test_the_restored_data_is_not_put_aside_as_blank(quick: NewHost) -> None:
    started(quick)
    (quick.root / "svc/up/etcd").unlink()
    run = quick.data.with_name("etcd.drctl") / "r1"
    run.mkdir(parents=True)
    (run / "in.list").write_text("etcd\n")
    ran = quick.act("undo empty")
    assert ran.status != 0 and "restored data" in ran.err
    assert (quick.data / "member").is_dir()


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["empty", "start-blank", "undo empty"])
def test_a_blank_member_killed_at_every_call(quick: NewHost, when: str, step: str) -> None:
    order = ["empty", "start-blank", "undo start-blank", "undo empty"]
    at = order.index(step)
    quick.install()
    before = quick.everything()
    record = (quick.root / "work/r1/installed").read_text()
    for n in range(1, 60):
        quick.forget()
        (quick.root / "work/r1/installed").write_text(record)
        for earlier in order[:at]:
            assert quick.act(earlier).status == 0
        died = quick.killed(step, f"{when} {n}")
        for later in order[at:]:
            if quick.state(later) == "before":
                assert quick.act(later).status == 0, (n, later)
            assert quick.state(later) == "after", (n, later)
            if later == "start-blank":
                assert list(quick.data.rglob("*.wal")), n
        kept = [p for p in quick.root.rglob("*.wal") if "old" in p.parts]
        assert len(kept) == 1, n
        for folder in quick.root.glob("run"):
            folder.rmdir()
        assert quick.everything() == before, n
        if not died:
            break
    assert n > 2
