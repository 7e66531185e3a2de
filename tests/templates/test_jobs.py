"""templates/job: start and attach, one owner, one lock, and what is left of a job that was cut."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from drctl.answer import parse
from drctl.nodes.history import LINES, line_hash, line_of, read_history
from drctl.render import render_script
from tests.templates.shells import Ran, Shell

SCRIPTS = {
    name: render_script(f"job/{name}").body
    for name in ("claim", "start", "wait", "owned", "release", "look", "looked")
}


class Desk:
    """One operator's session: run, epoch and name, on one node's work directory."""

    def __init__(self, shell: Shell, work: Path, run: str = "r1", epoch: int = 1) -> None:
        self.shell, self.work = shell, work
        self.job = work / run / "jobs" / "j-1"
        self.env = {
            "DRCTL_RUN": run,
            "DRCTL_WORK": str(work),
            "DRCTL_HOST": "m1",
            "DRCTL_EPOCH": str(epoch),
            "DRCTL_WHO": f"operator of {run}",
            "DRCTL_MANIFEST": '{"of": "it\'s"}',
            "DRCTL_RECORD": '{"state": "done"}',
            "DRCTL_JOB": "j-1",
            "DRCTL_STEP": "j",
            "DRCTL_ACTION": "test",
            "DRCTL_SEEN": '{"was": "x"}',
            "DRCTL_WAIT": "60",
            "DRCTL_SECRETS": "",
        }

    def line(self, kind: str, seq: int = 7) -> str:
        run, who = self.env["DRCTL_RUN"], self.env["DRCTL_WHO"]
        return line_of(run, kind, who, "0123456789abcdef", (seq, "c" * 64))

    def __call__(self, script: str, body: str = "", **more: str) -> Ran:
        line = self.line("done" if script == "release" else "changed")
        env = {**self.env, "DRCTL_BODY": body, "DRCTL_LINE": line, **more}
        return self.shell.stdin(SCRIPTS[script], env)

    def begin(self, body: str) -> None:
        """Start a job without waiting for its end."""
        assert self("start", body, DRCTL_WAIT="0").out == "running\n"

    def locked(self) -> bool:
        with (self.work / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False


@pytest.fixture
def desk(shell: Shell, tmp_path: Path) -> Desk:
    made = Desk(shell, tmp_path / "work")
    assert made("claim").status == 0
    return made


def wait_for(go: Path) -> str:
    """Shell: wait until `go` exists; it ends by itself where a failed test makes no `go`."""
    return f"n=0; until [ -e '{go}' ] || [ $n -gt 400 ]; do n=$((n+1)); sleep 0.05 || exit; done"


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_the_end_of_a_job_can_be_asked_for_again(desk: Desk) -> None:
    body = "echo hello\necho oops >&2\necho once >> '" + str(desk.work) + "/count'\nexit 7"
    first = desk("start", body)
    assert first == Ran(0, "done 7\nhello\n", "oops\n")
    assert desk("start", body) == first  # attached, not begun again
    assert desk("wait") == first
    assert (desk.work / "count").read_text() == "once\n"
    assert not list(desk.job.glob("*.new"))


def test_what_a_job_leaves_is_for_root_alone(desk: Desk) -> None:
    desk("start", f"umask > '{desk.work}/mask'")
    found = {p: p.stat().st_mode & 0o777 for p in desk.work.rglob("*") if p.name != "mask"}
    assert {"owner", "lock", "manifest.json"} <= {p.name for p in found}
    assert {"started", "body.sh", "out", "err", "pid", "status"} <= {p.name for p in found}
    assert {p: m for p, m in found.items() if m != (0o700 if p.is_dir() else 0o600)} == {}
    assert desk.work.stat().st_mode & 0o777 == 0o700
    # The body itself may start services: it gets the mask that the user has.
    own = os.umask(0)
    os.umask(own)
    assert int((desk.work / "mask").read_text(), 8) == own


def test_the_manifest_and_the_start_are_recorded(desk: Desk) -> None:
    desk("start", ":")
    assert (desk.work / "r1/manifest.json").read_text() == '{"of": "it\'s"}\n'
    started = (desk.job / "started").read_text()
    assert "step=j\naction=test\nepoch=1\n" in started and started.endswith('{"was": "x"}\n')


def test_never_running_and_done(desk: Desk) -> None:
    assert desk("wait").out == "never\n"
    go = desk.work / "go"
    desk.begin(wait_for(go))
    assert desk("wait", DRCTL_WAIT="0").out == "running\n"
    assert not (desk.job / "status").exists()
    go.touch()
    assert desk("wait").out == "done 0\n"


def test_the_lock_is_held_for_as_long_as_the_body_runs(desk: Desk) -> None:
    go, daemon = desk.work / "go", desk.work / "daemon"
    desk.begin(f"sh -c 'echo $$ > {daemon}; exec sleep 30' >/dev/null 2>&1 &\n{wait_for(go)}")
    assert desk.locked()
    busy = Desk(desk.shell, desk.work, epoch=1)
    busy.env["DRCTL_JOB"] = "j-2"
    refused = busy("start", ":")
    assert refused.status == 75 and refused.out.startswith("busy=job\nrun=r1\n")
    assert busy("claim").status == 75
    go.touch()
    assert desk("wait").out == "done 0\n"
    pid = int(daemon.read_text())
    try:
        os.kill(pid, 0)  # the daemon goes on
        until(lambda: not desk.locked(), 20)
        assert busy("start", "echo next").out == "done 0\nnext\n"
    finally:
        os.kill(pid, signal.SIGKILL)


def test_another_machine_is_neither_claimed_nor_given_back(desk: Desk, tmp_path: Path) -> None:
    known = Path("/etc/machine-id")
    here = known.read_text().strip() if known.exists() else ""  # some containers have none
    other = Desk(desk.shell, tmp_path / "other")
    refused = other("claim", DRCTL_MACHINE="another")
    assert (refused.status, refused.out) == (75, f"machine={here}\n")
    assert not other.work.exists()
    assert other("claim", DRCTL_MACHINE=here).status == 0
    assert other("release", DRCTL_MACHINE="another").status == 1
    assert (other.work / "owner").exists()
    assert other("release", DRCTL_MACHINE=here).status == 0
    assert not (other.work / "owner").exists()


def test_a_second_operator_is_refused_and_told_who_owns_the_node(desk: Desk) -> None:
    other = Desk(desk.shell, desk.work, run="r2")
    for script in ("claim", "start"):
        refused = other(script, ":")
        assert refused.status == 75
        assert parse(refused.out)["run"] == "r1" and parse(refused.out)["who"] == "operator of r1"
    assert not other.job.exists()
    assert other("release").status == 0
    assert (desk.work / "owner").exists()
    assert desk("release").status == 0
    assert (desk.work / "r1/record.json").read_text() == '{"state": "done"}\n'
    assert other("claim").status == 0
    assert desk("start", ":").status == 75


def history(desk: Desk) -> list[tuple[int, str, str]]:
    """(seq, run, kind) of what the node remembers; it must be whole."""
    found = read_history((desk.work / "history").read_text().splitlines())
    assert found.problem == ""
    return [(entry.seq, entry.run, entry.kind) for entry in found.entries]


def test_who_was_passed_by_since_it_looked_is_refused(desk: Desk) -> None:
    other = Desk(desk.shell, desk.work, run="r2")
    assert desk("release").status == 0
    script = render_script("node/owner", services=(), member=None)
    seen = parse(desk.shell.stdin(script.body, desk.env).out)
    wanted = ("owner_run", "owner_who", "owner_since", "last_line", "unsafe.work")
    assert {name: seen.get(name) for name in wanted} == {
        "owner_run": "",
        "owner_who": "",
        "owner_since": "",
        "last_line": "2",
        "unsafe.work": "",
    }
    for line in ("0", "1"):
        late = other("claim", DRCTL_SEEN_LINE=line)
        assert (late.status, late.out) == (75, "passed_by=yes\nrun=r1\nwho=operator_of_r1\n")
    assert not (desk.work / "owner").exists()
    assert desk("claim", DRCTL_SEEN_LINE="0").status == 0  # its own claim of before is no other's
    assert desk("release").status == 0
    assert other("claim", DRCTL_SEEN_LINE="4").status == 0
    assert history(desk)[-2:] == [(4, "r1", "done"), (5, "r2", "changed")]


def test_who_did_not_look_is_passed_by_after_its_own_last_line(desk: Desk) -> None:
    """An undo of a node that did not answer before; one where the run never was is as it was."""
    other = Desk(desk.shell, desk.work, run="r2")
    assert desk("release").status == 0
    assert other("claim").status == 0
    assert other("release").status == 0
    late = desk("claim")
    assert (late.status, late.fields["run"]) == (75, "r2")
    assert other("claim").status == 0


def test_a_node_remembers_each_claim_and_each_release(desk: Desk) -> None:
    lines = (desk.work / "history").read_text().splitlines()
    assert desk("claim").status == 0  # sent twice
    assert (desk.work / "history").read_text().splitlines() == lines
    assert desk("claim", DRCTL_LINE=desk.line("changed", 8)).status == 0
    assert desk("release", DRCTL_LINE=desk.line("kept", 9)).status == 0
    assert desk("release").status == 0  # not its own any more: nothing to remember
    assert history(desk) == [(1, "r1", "changed"), (2, "r1", "changed"), (3, "r1", "kept")]
    told = desk.shell.stdin(render_script("node/records").body, desk.env).out
    kept = [x.removeprefix("history:") for x in told.splitlines() if x.startswith("history:")]
    assert kept == (desk.work / "history").read_text().splitlines()
    assert read_history(kept).entries[1].head == (8, "c" * 64)


def test_a_history_that_is_long_is_folded_and_one_that_was_torn_goes_on(desk: Desk) -> None:
    file = desk.work / "history"
    lines = [file.read_text().rstrip("\n")]
    for number in range(2, LINES + 1):
        line = desk.line("changed", number)
        lines.append(f"{number} 2026-11-23T00:00:00Z {line} {line_hash(lines[-1])}")
    file.write_text("\n".join([*lines, "201 2026-11-23T00:0"]))
    assert desk("release").status == 0
    found = history(desk)
    assert (len(found), found[0][0], found[-1]) == (LINES, 2, (LINES + 1, "r1", "done"))


@pytest.mark.parametrize("n", range(1, 6))
def test_a_release_killed_at_any_call_keeps_its_end(desk: Desk, n: int) -> None:
    """Whoever may come in finds the end of the one before."""
    desk.shell.die(f"before {n}")
    desk.shell.body(SCRIPTS["release"], {**desk.env, "DRCTL_LINE": desk.line("done")})
    desk.shell.die(None)
    if (desk.work / "owner").exists():
        assert desk("release").status == 0
    assert not (desk.work / "owner").exists()
    assert history(desk) == [(1, "r1", "changed"), (2, "r1", "done")]


def test_a_release_waits_for_the_job_before_and_never_for_long(desk: Desk) -> None:
    with (desk.work / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        busy = desk("release")
        assert (busy.status, parse(busy.out)["busy"]) == (75, "job")
    assert history(desk) == [(1, "r1", "changed")]
    assert (desk.work / "owner").exists()
    assert desk("release").status == 0


def test_an_older_session_is_refused(desk: Desk) -> None:
    newer = Desk(desk.shell, desk.work, epoch=2)
    since = parse((desk.work / "owner").read_text())["since"]
    assert newer("claim").status == 0
    assert parse((desk.work / "owner").read_text())["since"] == since
    (desk.work / "r1/claim").unlink()  # the owner's file alone must do, too
    for script in ("start", "claim"):
        refused = desk(script, ":")
        assert refused.status == 75 and parse(refused.out)["epoch"] == "2"
    assert not desk.job.exists()
    assert newer("start", ":").out == "done 0\n"


def test_a_job_outlives_the_connection(desk: Desk) -> None:
    go = desk.work / "go"
    body = f"{wait_for(go)}\necho finished"
    cut = desk.shell.start(SCRIPTS["start"], {**desk.env, "DRCTL_BODY": body})
    until((desk.job / "pid").exists)
    os.killpg(cut.pid, signal.SIGHUP)
    os.killpg(cut.pid, signal.SIGKILL)
    cut.communicate(timeout=10)
    assert desk("wait", DRCTL_WAIT="0").out == "running\n"
    go.touch()
    assert desk("wait").out == "done 0\nfinished\n"


def test_a_killed_runner_is_not_the_end_of_its_body(desk: Desk) -> None:
    go = desk.work / "go"
    desk.begin(f"{wait_for(go)}\necho late >&2")
    pid = desk.job / "pid"
    until(lambda: pid.exists() and pid.read_text() != "")
    body = int(pid.read_text())
    runner = int(Path(f"/proc/{body}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(runner, signal.SIGKILL)
    until(lambda: not desk.locked())
    assert desk("wait", DRCTL_WAIT="0").out == "running\n"
    go.touch()
    lost = desk("wait")
    assert (lost.status, lost.out) == (0, "lost\n") and "late" in lost.err


@pytest.mark.parametrize(
    "left", [{"started"}, {"started", "out"}, {"started", "out", "err", "pid"}]
)
def test_lost_is_an_answer_also_where_little_was_written(desk: Desk, left: set[str]) -> None:
    """The node lost its power in the middle: there is no runner and no status."""
    desk.job.mkdir(parents=True)
    for name in left:
        (desk.job / name).write_text("1\n")
    for script in ("wait", "start"):
        answer = desk(script, "echo must not run")
        assert (answer.status, answer.out) == (0, "lost\n")


def test_a_body_cannot_read_the_script_behind_it(desk: Desk) -> None:
    assert desk("start", "cat; read -r line || echo nothing").out == "done 0\nnothing\n"


def test_a_huge_output_is_cut_to_its_end(desk: Desk) -> None:
    said = desk("start", "yes 12345678 | head -n 50000; echo last; yes err | head -n 20000 >&2")
    assert said.out.startswith("done 0\n") and said.out.endswith("\nlast\n")
    assert len(said.out) <= 65536 + 10 and len(said.err) <= 16384


def test_a_quick_successor_waits_for_the_lock(desk: Desk) -> None:
    """A runner lets go a moment after its status can be read."""
    with (desk.work / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        begun = desk.shell.start(SCRIPTS["start"], {**desk.env, "DRCTL_BODY": "echo ran"})
        time.sleep(0.5)
    out, _ = begun.communicate(timeout=20)
    assert out == "done 0\nran\n"


@pytest.mark.parametrize("n", range(1, 9))
def test_a_claim_killed_at_any_call_can_be_made_again(desk: Desk, n: int) -> None:
    desk("release")
    shell = desk.shell
    shell.die(f"before {n}")
    shell.body(SCRIPTS["claim"], {**desk.env, "DRCTL_LINE": desk.line("changed")})
    shell.die(None)
    assert not (desk.work / "owner").exists() or parse((desk.work / "owner").read_text())["run"]
    assert desk("claim").status == 0
    assert history(desk)[-1][1:] == ("r1", "changed")
    assert desk("start", ":").out == "done 0\n"


def test_missing_tools_are_named(shell: Shell, tmp_path: Path) -> None:
    (shell.bin / "setsid").unlink(missing_ok=True)
    shell.path = str(shell.bin)
    ran = Desk(shell, tmp_path / "work")("claim")
    assert ran.status == 69 and "is not installed" in ran.err
    assert not (tmp_path / "work").exists()


def test_a_session_that_wakes_up_late_neither_sends_nor_lets_others_in(
    shell: Shell, desk: Desk
) -> None:
    assert desk("owned").status == 0
    newer = Desk(shell, desk.work, epoch=2)
    assert newer("claim").status == 0
    late = desk("owned")
    assert (late.status, late.fields["epoch"]) == (75, "2")
    assert desk("release").status == 0
    assert (desk.work / "owner").exists()
    assert newer("owned").status == 0
    assert newer("release").status == 0
    assert not (desk.work / "owner").exists()
    assert newer("owned").status == 75


def test_a_node_that_a_newer_session_did_not_reach_is_given_back_too(
    shell: Shell, desk: Desk
) -> None:
    assert Desk(shell, desk.work, epoch=3)("release").status == 0
    assert not (desk.work / "owner").exists()


def test_a_session_that_slept_through_the_end_of_its_run_is_too_late(
    shell: Shell, desk: Desk
) -> None:
    """The run was taken over, ended and gave the node back; then the first session wakes up."""
    newer = Desk(shell, desk.work, epoch=2)
    assert newer("claim").status == 0
    assert newer("release").status == 0
    late = desk("claim")
    assert (late.status, late.fields["epoch"], late.fields["run"]) == (75, "2", "r1")
    assert not (desk.work / "owner").exists()
    assert Desk(shell, desk.work, epoch=3)("claim").status == 0  # a rollback, say


def test_a_look_leaves_nothing(shell: Shell, tmp_path: Path) -> None:
    """Nor the work directory, where there was none."""
    desk = Desk(shell, tmp_path / "made for it" / "work")
    for _ in range(2):
        assert desk("look", DRCTL_LOOK="r1-a").status == 0
        folder = desk.work / "looks" / "r1-a"
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "tools").mkdir()
        (folder / "tools" / "x").touch()
        assert desk("looked", DRCTL_LOOK="r1-a").status == 0
        assert list(tmp_path.glob("made*")) == []


def test_a_look_disturbs_nobody(shell: Shell, tmp_path: Path) -> None:
    """Neither a run, nor another look; but what one left that was killed is swept."""
    desk = Desk(shell, tmp_path / "work")
    assert desk("claim").status == 0
    mine = sorted(desk.work.rglob("*"))
    for look in ("r1-a", "check-b", "check-killed"):
        assert desk("look", DRCTL_LOOK=look).status == 0
    looks = desk.work / "looks"
    os.utime(looks / "check-killed", (time.time() - 3700,) * 2)
    (looks / "r1-a" / "x").touch()
    assert desk("look", DRCTL_LOOK="check-c").status == 0
    assert sorted(p.name for p in looks.iterdir()) == ["check-b", "check-c", "r1-a"]
    assert (looks / "r1-a" / "x").exists()
    for look in ("check-c", "r1-a", "check-b"):
        assert desk("looked", DRCTL_LOOK=look).status == 0
    assert sorted(desk.work.rglob("*")) == mine


SECRET = "canary-of-a-secret it's 'quoted'"


def test_a_secret_reaches_the_body_and_no_file(desk: Desk) -> None:
    given = f"PASSWORD={shlex.quote(SECRET)}\n"
    length = 'echo "${#PASSWORD}"; env | grep -c PASSWORD; read -r line; echo "read: $line"'
    ran = desk("start", length, DRCTL_SECRETS=given)
    assert ran.out == f"done 0\n{len(SECRET)}\n0\nread: \n"
    files = [path for path in desk.work.rglob("*") if path.is_file()]
    assert desk.job / "body.sh" in files
    assert [path for path in files if SECRET[:10] in path.read_text()] == []


def test_a_secret_is_on_no_disk_while_the_body_runs(desk: Desk) -> None:
    go = desk.work / "go"
    given = f"PASSWORD={shlex.quote(SECRET)}\n"
    desk.env["DRCTL_SECRETS"] = given
    desk.begin(wait_for(go))
    files = [path for path in desk.work.rglob("*") if path.is_file()]
    assert [path for path in files if SECRET[:10] in path.read_text()] == []
    until(lambda: (desk.job / "pid").exists() and (desk.job / "pid").read_text() != "")
    pid = (desk.job / "pid").read_text().strip()
    for what in ("cmdline", "environ"):
        assert SECRET[:10].encode() not in (Path("/proc") / pid / what).read_bytes()
    go.touch()
    assert desk("wait").out == "done 0\n"


def test_a_secret_of_many_lines_and_bytes(desk: Desk) -> None:
    value = "\n".join(f"line {n} $(id) `id` \\" for n in range(1500))
    given = f"KEY={shlex.quote(value)}\n"
    assert len(given) < 2**16
    ran = desk("start", 'printf %s "$KEY" | sha256sum', DRCTL_SECRETS=given)
    assert ran.out == f"done 0\n{hashlib.sha256(value.encode()).hexdigest()}  -\n"
