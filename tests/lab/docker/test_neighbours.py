"""Another user of a node, who changes things while root works: nothing of root's lands elsewhere.

Root is who runs the tests, or, where that is an ordinary user, root in a Docker node.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from drctl.engine.jobs import preamble
from drctl.render import render_script
from tests.lab.docker.nodes import Ran
from tests.templates.layouts import sha256
from tests.templates.node import RUN, Node
from tests.templates.shells import Shell
from tests.templates.test_jobs import SCRIPTS

NEIGHBOUR = 65533
Sh = Callable[[str], Ran]


@pytest.fixture
def sh(request: pytest.FixtureRequest) -> Sh:
    """Runs a script as root."""
    if os.getuid() != 0:
        node = request.getfixturevalue("systemd_node")("neighbours")
        return lambda script: node.sh(script, check=False)

    def here(script: str) -> Ran:
        done = subprocess.run(
            ["sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120
        )
        return Ran(done.returncode, done.stdout.decode(errors="replace"))

    return here


@dataclass
class Place:
    """A data directory that belongs to its user, and a folder that is root's alone."""

    node: Node
    sh: Sh

    @property
    def data(self) -> Path:
        return self.node.data

    @property
    def rootonly(self) -> Path:
        return self.node.root / "rootonly"

    def body(self, step: str, *, undo: bool = False) -> str:
        """A step's act as a shell of its own."""
        task = self.node.task(f"undo {step}" if undo else step)
        assert task.act
        text = preamble(self.node.env(task, {})) + task.act.body
        return f"sh -s <<'SCRIPT_ENDS'\n{text}\nSCRIPT_ENDS\n"

    def receive(self, target: str) -> str:
        text = render_script("node/receive").body
        return (
            "printf 'a snapshot' | { if command -v zstd >/dev/null; then zstd -q; else cat; fi; }"
            f" | sh -c \"$(cat <<'SCRIPT_ENDS'\n{text}\nSCRIPT_ENDS\n)\""
            f" sh '{target}' mark 4096 no 10\n"
        )

    def under_attack(self, attack: str, work: str, times: int) -> None:
        """`work` over and over while the neighbour does `attack`, which ends with it; after it
        there is nothing where only root may write."""
        root, user = self.node.root, f"--reuid {NEIGHBOUR} --regid {NEIGHBOUR} --clear-groups"
        neighbour = (
            f"cd '{self.data}' && n=0; while [ $n -lt 20000 ] && [ ! -e '{root}/stop' ]; do"
            f" n=$((n + 1)); {attack}; done; echo $n > tried"
        )
        ran = self.sh(
            f"cat > '{root}/attack' <<'ATTACK_ENDS'\n{neighbour}\nATTACK_ENDS\n"
            f"setpriv {user} sh '{root}/attack' >/dev/null 2>&1 &\n"
            f'n=0; while [ $n -lt {times} ]; do n=$((n + 1))\n{work}\necho "status=$?"\ndone\n'
            f": > '{root}/stop'; wait; echo tried=$(cat '{self.data}/tried')"
        )
        assert ran.output.count("status=") == times, ran
        assert int(ran.output.rpartition("tried=")[2]) > times, ran  # the two did meet
        assert self.elsewhere() == ""

    def elsewhere(self) -> str:
        """What root wrote where only root may: nothing."""
        found = self.sh(f"find '{self.rootonly}' -mindepth 1; stat -c '%u %a' '{self.rootonly}'")
        return found.output.replace("0 700\n", "")


@pytest.fixture
def place(sh: Sh) -> Iterator[Place]:
    root = Path(tempfile.mkdtemp(prefix="drctl-neighbours-", dir="/tmp"))  # all can go there
    node = Node(root, Shell("dash", root / "shell"), sha256=sha256(b"a snapshot"))
    node.values["stage"] = f"{node.data}/.drctl"
    made = Place(node, sh)
    ran = sh(
        f"umask 022; mkdir -p '{made.data}' '{node.root}/work' && mkdir -m 700 '{made.rootonly}'"
        f" && chmod 755 '{root}' && chown {NEIGHBOUR} '{made.data}'"
    )
    assert ran.status == 0, ran
    yield made
    sh(f"rm -rf '{root}'")
    shutil.rmtree(root, ignore_errors=True)


def test_a_link_in_the_place_of_the_staging_is_refused(place: Place) -> None:
    """Root wrote a whole restore to where it led."""
    place.sh(f"ln -s '{place.rootonly}' '{place.data}/.drctl'")
    target = f"{place.node.stage}/snapshot.db.part"
    scripts = [place.receive(target)]
    scripts += [place.body(step) for step in ("send", "rebuild", "swap", "clean")]
    for script in scripts:
        ran = place.sh(script)
        assert ran.status == 77 and f"{place.data}/.drctl is a symlink" in ran.output, ran
    assert place.elsewhere() == ""


def test_a_staging_that_comes_and_goes_leads_nowhere_else(place: Place) -> None:
    target = f"{place.node.stage}/snapshot.db.part"
    attack = (
        f"mv .drctl aside; ln -s '{place.rootonly}' .drctl; rm -f .drctl; mv aside .drctl;"
        f" mkdir .drctl; mkdir .drctl/{RUN}; ln -s '{place.rootonly}' .drctl/{RUN}; rm -rf .drctl"
    )
    work = f"{place.receive(target)}\n{place.body('send')}\n{place.body('clean')}"
    place.under_attack(attack, work, 40)


def test_what_comes_into_its_users_directory_is_not_led_away(place: Place) -> None:
    """`mv new DATA/member` moves into what `member` leads to."""
    rebuilt = f"'{place.node.stage}/new/{place.data.name}/member'"
    attack = f"ln -s '{place.rootonly}' member; rm -f member"
    work = (
        f"rm -rf '{place.data}/.drctl'; mkdir -p -m 700 '{place.data}/.drctl' && umask 077 &&"
        f" mkdir -p {rebuilt}\n{place.body('swap')}"
    )
    place.under_attack(attack, work, 30)


def test_a_directory_that_is_given_away_is_the_one_that_was_made(place: Place) -> None:
    """`chown USER PATH` gives away what PATH leads to by then."""
    text = render_script("node/receive").body.split("umask 077")[0]
    made = f"{place.data}/inner"
    own = f"(safe_enter '{made}' any && chmod 711 . && chown {NEIGHBOUR} .)"
    attack = f"rmdir inner; ln -s '{place.rootonly}' inner; rm -f inner"
    work = f"sh -s <<'SCRIPT_ENDS'\n{text}\n{own}\nSCRIPT_ENDS\n"
    place.under_attack(attack, work, 150)


def test_a_job_in_a_neighbours_work_dir_runs_nothing_of_his(place: Place) -> None:
    """A FIFO in the place of the job's script was read by root's shell."""
    work = place.node.root / "work"
    job = work / RUN / "jobs/stop-apiserver-1"
    env = {
        "DRCTL_RUN": RUN,
        "DRCTL_WORK": str(work),
        "DRCTL_EPOCH": "1",
        "DRCTL_JOB": "stop-apiserver-1",
        "DRCTL_STEP": "stop-apiserver",
        "DRCTL_ACTION": "test",
        "DRCTL_SEEN": "{}",
        "DRCTL_WAIT": "20",
        "DRCTL_BODY": "echo drctl",
    }
    ran = place.sh(
        f"mkdir -p '{job}' && mkfifo '{job}/body.sh'"
        f" && printf 'run={RUN}\\nepoch=1\\n' > '{work}/owner'"
        f" && chown -R {NEIGHBOUR} '{work}'\n"
        f"(setpriv --reuid {NEIGHBOUR} --regid {NEIGHBOUR} --clear-groups timeout 20"
        f" sh -c \"cat '{job}/body.sh'; echo 'id > {place.node.root}/owned' > '{job}/body.sh'\")"
        f" >/dev/null 2>&1 &\n"
        f"timeout 20 sh -s <<'SCRIPT_ENDS'\n{preamble(env)}{SCRIPTS['start']}\nSCRIPT_ENDS\n"
    )
    assert ran.status == 77 and f"chown root '{work}'" in ran.output, ran
    ran = place.sh(f"ls '{place.node.root}/owned' '{job}'")
    assert ran.output.splitlines()[-1] == "body.sh"


def test_in_its_users_own_directory_all_of_it_works(place: Place) -> None:
    """Held open, and not named: sent, swapped, taken back and cleaned up."""
    stage, data = place.node.stage, place.data
    seed = f"mkdir -p '{data}/member' && echo old > '{data}/member/db'"
    new = (
        f"umask 077; mkdir -p '{stage}/new/etcd/member' && echo new > '{stage}/new/etcd/member/db'"
    )
    steps = [
        ("", seed),
        ("", place.receive(f"{stage}/snapshot.db.part")),
        ("a snapshot", place.body("send") + f"cat '{stage}/snapshot.db'"),
        ("new", f"{new}\n{place.body('swap')}cat '{data}/member/db'"),
        ("old", place.body("swap", undo=True) + f"cat '{data}/member/db'"),
        ("member", place.body("send", undo=True) + f"ls -A '{data}'"),
    ]
    for expected, script in steps:
        ran = place.sh(script)
        assert ran.status == 0 and ran.output.strip().endswith(expected), (script[-300:], ran)
