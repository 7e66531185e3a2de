"""templates/node/safe: which paths may be used, and what stands in the way of the others.

Who is not root here is made somebody else by an `id` that lies: then all of the test's own folders
are a neighbour's. The same against a real neighbour: tests/lab/docker/test_neighbours.py.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from drctl.render import render
from tests.templates.node import Node
from tests.templates.shells import Ran, Shell
from tests.templates.test_jobs import Desk

SAFE = render("node/safe.sh")
ROOT = os.getuid() == 0
NEIGHBOUR = 4711
TOOL_TEXT = '#!/bin/sh\n: > "${0%/*}/ran"\n'
SENT = {"target": "tools/etcdutl", "sha256": hashlib.sha256(TOOL_TEXT.encode()).hexdigest()}


def look(shell: Shell, path: Path | str, whose: str = "") -> list[str]:
    ran = shell.stdin(f"{SAFE}\nsafe_look '{path}' {whose}", {})
    return ran.out.splitlines()


def run(shell: Shell, command: str) -> Ran:
    return shell.stdin(f"umask 077\n{SAFE}\n{command}", {})


@pytest.fixture
def top(tmp_path: Path) -> Path:
    made = tmp_path / "top"
    made.mkdir(mode=0o755)
    return made


def theirs(shell: Shell, path: Path) -> int:
    """Make `path` a neighbour's; the number that it belongs to then."""
    if ROOT:
        os.chown(path, NEIGHBOUR, NEIGHBOUR, follow_symlinks=False)
        return NEIGHBOUR
    (shell.bin / "id").unlink(missing_ok=True)
    (shell.bin / "id").write_text(f"#!/bin/sh\necho {NEIGHBOUR}\n")
    (shell.bin / "id").chmod(0o755)
    return os.getuid()


def test_what_is_there_and_what_is_not_yet(shell: Shell, top: Path) -> None:
    (top / "a").mkdir()
    assert look(shell, top / "a") == ["ok", f"{top}/a", f"{top}/a"]
    assert look(shell, top / "a/b/c") == ["ok", f"{top}/a", f"{top}/a/b/c"]
    assert look(shell, f"{top}//a/./b") == ["ok", f"{top}/a", f"{top}/a/b"]
    assert look(shell, "/") == ["ok", "/", "/"]


def test_a_sticky_folder_of_roots_is_a_way_and_no_place(shell: Shell) -> None:
    assert look(shell, "/tmp/drctl-not-there")[0] == "ok"
    assert look(shell, "/tmp") == ["mode 0 /tmp"]


@pytest.mark.parametrize("mode", [0o757, 0o1777])
def test_a_folder_that_everybody_writes_is_named(shell: Shell, top: Path, mode: int) -> None:
    (top / "open/in").mkdir(parents=True)
    (top / "open").chmod(mode)
    sticky_and_roots = ROOT and mode == 0o1777
    expected = "ok" if sticky_and_roots else f"mode {os.getuid()} {top}/open"
    assert look(shell, top / "open/in")[0] == expected
    assert look(shell, top / "open")[0] == f"mode {os.getuid()} {top}/open"


@pytest.mark.parametrize(
    ("group", "passwd", "flaw"),
    [
        ("staff:x:{gid}:", "", False),
        ("staff:x:{gid}:root", "", False),
        ("staff:x:{gid}:root,other", "", True),
        ("staff:x:{gid}:", "other:x:4712:{gid}::/:/bin/sh", True),
        ("else:x:4713:", "", True),
    ],
)
def test_a_group_with_nobody_in_it_writes_nothing(
    shell: Shell, top: Path, group: str, passwd: str, flaw: bool
) -> None:
    top.chmod(0o775)
    gid = str(top.stat().st_gid)
    root = "root:x:0:0::/:/bin/sh\nother:x:4712:4712::/:/bin/sh"
    texts = {"group": group, "passwd": f"{root}\n{passwd}"}
    lines = "\n".join(f"  {k}) echo '{v.format(gid=gid)}' ;;" for k, v in texts.items())
    stub = shell.bin / "getent"
    stub.unlink(missing_ok=True)
    stub.write_text(f'#!/bin/sh\ncase $1 in\n{lines}\nesac\n[ -n "$2" ] || exit 0\n')
    stub.chmod(0o755)
    assert (look(shell, top)[0] != "ok") is flaw


def test_a_neighbours_folder_is_named_with_the_command_that_mends_it(
    shell: Shell, top: Path
) -> None:
    (top / "a/b").mkdir(parents=True)
    who = theirs(shell, top / "a")
    ran = run(shell, f"safe '{top}/a/b/c'; echo $?; safe_make '{top}/a/b/c'; echo $?")
    assert ran.out == "77\n77\n"
    if ROOT:
        assert f"{top}/a belongs to user {who}" in ran.err and f"chown root '{top}/a'" in ran.err
    assert not (top / "a/b/c").exists()


def test_links_are_followed_where_they_are_ours(shell: Shell, top: Path) -> None:
    (top / "disk/x").mkdir(parents=True)
    (top / "one").symlink_to(top / "disk")
    (top / "two").symlink_to("disk/x")
    (top / "disk/x/up").symlink_to("../../one/x")
    (top / "loop").symlink_to("loop")
    (top / "dots").symlink_to(f"{top}/one/../etc")
    assert look(shell, top / "one/new") == ["ok", f"{top}/disk", f"{top}/disk/new"]
    assert look(shell, top / "two/up/new") == ["ok", f"{top}/disk/x", f"{top}/disk/x/new"]
    assert look(shell, top / "loop")[0].startswith("link ")
    assert look(shell, top / "dots")[0].startswith("dots ")
    (top / "open").mkdir()
    (top / "open").chmod(0o777)
    (top / "three").symlink_to("open")
    assert look(shell, top / "three/x")[0] == f"mode {os.getuid()} {top}/open"


def test_a_neighbours_link_is_none(shell: Shell, top: Path) -> None:
    (top / "disk").mkdir()
    (top / "link").symlink_to("disk")
    theirs(shell, top / "link")
    assert look(shell, top / "link/x")[0].startswith("owner ")


def test_what_is_no_folder_ends_the_way(shell: Shell, top: Path) -> None:
    os.mkfifo(top / "fifo")
    (top / "file").touch()
    assert look(shell, top / "fifo") == [f"kind - {top}/fifo"]
    assert look(shell, top / "file/x") == [f"kind - {top}/file"]
    assert look(shell, top / "file")[0] == "ok"  # a program, say


def test_a_file_system_of_a_users_own_says_what_it_likes(shell: Shell, top: Path) -> None:
    stub = shell.bin / "grep"
    stub.unlink(missing_ok=True)

    def mounted(who: int) -> str:
        line = f"1 2 0:1 / {top} rw - fuse.x x rw,user_id={who},group_id=1"
        stub.write_text(f"#!/bin/sh\necho '{line}'\n")
        stub.chmod(0o755)
        return look(shell, top / "a")[0]

    assert mounted(NEIGHBOUR) == f"mount {NEIGHBOUR} {top}"
    assert mounted(0) == "ok"


def test_made_for_us_alone_and_entered(shell: Shell, top: Path) -> None:
    ran = run(shell, f"umask 000; safe_enter '{top}/a/b' && pwd; safe_make '{top}/a/c'")
    assert (ran.status, ran.out) == (0, f"{top}/a/b\n")
    assert {p.stat().st_mode & 0o777 for p in (top / "a", top / "a/b", top / "a/c")} == {0o700}


def test_what_lies_in_its_users_folder_is_held_open(shell: Shell, top: Path) -> None:
    """A rename by the folder's user puts nothing in its place."""
    if not ROOT:
        pytest.skip("only root has neighbours that it can act for")
    data = top / "data"
    data.mkdir()
    os.chown(data, NEIGHBOUR, NEIGHBOUR)
    (top / "rootonly").mkdir(mode=0o700)
    swap = f"mv '{data}/.drctl' '{data}/x' && ln -s '{top}/rootonly' '{data}/.drctl'"
    ran = run(
        shell,
        f'safe_hold 7 \'{data}/.drctl\' && [ ! -e "$safe_held" ] && rm -f "$safe_held/y" &&\n'
        f"safe_hold 7 '{data}/.drctl' yes && {swap} && echo in > \"$safe_held/file\" && pwd",
    )
    assert (ran.status, ran.out) == (0, "/\n"), ran
    assert (data / "x/file").read_text() == "in\n"
    assert not any((top / "rootonly").iterdir())
    again = run(shell, f"safe_hold 7 '{data}/.drctl' yes")
    assert again.status == 77 and f"{data}/.drctl is a symlink" in again.err


def test_a_stage_that_its_neighbour_made_is_refused(shell: Shell, top: Path) -> None:
    (top / "data.drctl").mkdir(mode=0o700)
    theirs(shell, top / "data.drctl")
    ran = run(shell, f"safe_hold 7 '{top}/data.drctl' yes")
    assert ran.status == 77
    if ROOT:
        assert f"mv '{top}/data.drctl' '{top}/data.drctl.aside'" in ran.err


# -- where it is used -----------------------------------------------------------------------------


def test_nothing_is_claimed_or_begun_in_a_neighbours_work_dir(shell: Shell, tmp_path: Path) -> None:
    """A FIFO at jobs/NAME/body.sh made root run its owner's commands."""
    desk = Desk(shell, tmp_path / "work")
    assert desk("claim").status == 0
    job = desk.job
    job.mkdir()
    os.mkfifo(job / "body.sh")
    began = desk("start", "echo ran")
    assert began.status == 77 and "body.sh belongs to someone else" in began.err
    (job / "body.sh").unlink()
    theirs(shell, desk.work)
    before = sorted(desk.work.rglob("*"))
    for script in ("claim", "start", "wait", "owned", "release"):
        ran = desk(script, "echo ran")
        assert ran.status == 77 and "Fix it there" in ran.err, script
    assert sorted(desk.work.rglob("*")) == before


def test_what_a_neighbour_planted_before_is_not_ours(shell: Shell, tmp_path: Path) -> None:
    desk = Desk(shell, tmp_path / "work")
    assert desk("claim").status == 0
    planted = desk.work / "r1/jobs/j-1"
    planted.mkdir()
    (planted / "body.sh").symlink_to("/etc/passwd")
    for script in ("claim", "start"):
        ran = desk(script, "echo ran")
        assert ran.status == 77 and "body.sh" in ran.err


@pytest.mark.parametrize("name", ["x'; touch hit; '", "a b", "a\nb", "$(touch hit)", "\x1b[0m"])
def test_a_name_that_a_neighbour_chose_is_in_no_command_to_type(
    shell: Shell, tmp_path: Path, name: str
) -> None:
    desk = Desk(shell, tmp_path / "work")
    assert desk("claim").status == 0
    (desk.work / name).symlink_to("/etc/passwd")
    ran = desk("claim")
    assert ran.status == 77 and name not in ran.err
    assert f"something in {desk.work} belongs to someone else" in ran.err
    assert f"ls -lRb '{desk.work}'" in ran.err


def test_step_one_says_it_and_reads_nothing(shell: Shell, tmp_path: Path) -> None:
    """Not only the claim, when the outage has begun; and a FIFO there holds nobody up."""
    node = Node(tmp_path / "n", shell)
    (tmp_path / "n/work").chmod(0o777)
    os.mkfifo(tmp_path / "n/work/owner")
    told = node.observe("nobody-else")
    assert told == {"unsafe.work": f"mode {os.getuid()} {tmp_path}/n/work"}


def test_programs_that_a_neighbour_can_change_are_not_run(shell: Shell, tmp_path: Path) -> None:
    node = Node(tmp_path / "n", shell)
    for tool in ("etcd", "etcdctl", "etcdutl"):
        path = node.root / "bin" / tool
        path.write_text(f"#!/bin/sh\n: > '{tmp_path}/{tool}-ran'\n")
        path.chmod(0o755)
    assert node.observe("facts")["unsafe.etcd"] == ""
    assert (tmp_path / "etcd-ran").exists()
    for path in tmp_path.glob("*-ran"):
        path.unlink()
    (node.root / "bin/etcdctl").chmod(0o757)
    (node.root / "bin/etcdutl").unlink()
    told = node.observe("facts")
    assert told["unsafe.etcdctl"] == f"mode {os.getuid()} {node.root}/bin/etcdctl"
    (node.root / "bin").chmod(0o777)
    assert node.observe("facts")["unsafe.etcd"] == f"mode {os.getuid()} {node.root}/bin"
    assert {p.name for p in tmp_path.glob("*-ran")} == {"etcd-ran"}  # the first of the two looks
    live = node.task("live").observe
    assert live
    ran = node.run(live, {})
    assert ran.status == 77 and "chmod go-w" in ran.err
    assert not (tmp_path / "etcdctl-ran").exists()


@pytest.mark.parametrize("place", ["lib", "lib/etcd.drctl"])
def test_the_datas_own_places_are_looked_at_in_step_one(
    dash: Shell, tmp_path: Path, place: str
) -> None:
    node = Node(tmp_path / "n", dash)
    assert node.observe("facts")["unsafe.data"] == ""
    (node.root / place).mkdir(exist_ok=True)
    (node.root / place).chmod(0o777)
    assert node.observe("facts")["unsafe.data"] == f"mode {os.getuid()} {node.root}/{place}"


def between(shell: Shell, tool: str, when: str, what: str) -> None:
    """`what` happens right after the first `tool` whose arguments contain `when`."""
    real = shell.bin / tool
    inner = real.rename(shell.bin / f"real-{tool}") if real.exists() else Path(f"/usr/bin/{tool}")
    once = shell.folder / "once"
    lines = f"case \"$*\" in *'{when}'*) [ -e '{once}' ] || {{ : > '{once}'; {what}; }} ;; esac"
    busybox = f"{inner.resolve()} {tool}" if inner.is_symlink() else str(inner)
    real.write_text(f'#!/bin/sh\n{busybox} "$@"\nn=$?\n{lines}\nexit $n\n')
    real.chmod(0o755)


def test_a_folder_that_comes_between_is_not_entered(shell: Shell, top: Path) -> None:
    """Looked at, it was not there; made, it is a link to somewhere else."""
    (top / "elsewhere").mkdir(mode=0o700)
    between(shell, "mkdir", "./a", f"rmdir '{top}/a'; ln -s elsewhere '{top}/a'")
    ran = run(shell, f"safe_make '{top}/a/b'")
    assert ran.status == 77 and f"{top}/a changed a moment ago" in ran.err
    assert not any((top / "elsewhere").iterdir())


def test_a_program_that_was_sent_is_run_only_where_nobody_can_exchange_it(
    dash: Shell, tmp_path: Path
) -> None:
    """Its digest was compared a moment before."""
    text = render("etcd/tool/upload.sh", None, tool="etcdutl", sent=lambda _: SENT)
    tool = tmp_path / "looks/tools/etcdutl"
    tool.parent.mkdir(parents=True)
    tool.write_text(TOOL_TEXT)
    script = f"{SAFE}\n{text}\netcdutl_begin && etcdutl version"
    (tmp_path / "looks").chmod(0o777)
    env = {"DRCTL_SENT": f"{tmp_path}/looks"}
    ran = dash.stdin(script, env)
    assert ran.status == 77 and "chmod go-w" in ran.err
    assert dash.stdin(f"{SAFE}\n{text}\netcdutl version", env).status != 0
    assert not (tool.parent / "ran").exists()
    (tmp_path / "looks").chmod(0o700)
    assert dash.stdin(script, env).status == 0
    assert (tool.parent / "ran").exists()
