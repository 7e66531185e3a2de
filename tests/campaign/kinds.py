"""The kinds of faults, as data: what happens, when it makes sense, and in which labs.

    python -m tests.campaign.kinds KIND DRIVER LAB-DIRECTORY HOST STATE-DIRECTORY

does one, from within the controller's process at a moment of its run (tests.support.mortal), and
leaves KIND in STATE-DIRECTORY's neighbour `happened` where it took effect.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from drctl.lab.certs import Authority
from tests.campaign import deeds
from tests.campaign.deeds import EXCHANGE, FLIP, Deed, each, mending, nothing, shell
from tests.campaign.scene import NotDone, Scene
from tests.support.operator import KILLED

LOCAL, BOTH, DOCKER = ("local",), ("local", "docker"), ("docker",)
STOPPED = ("step-done stop-etcd",)
REBUILT = ("step-done rebuild", "step-done rebuilt")
COPIES = '"$stage"/*/snapshot.db'
JOBS = '"$work/$(sed -n "s/^run=//p" "$work/owner")"/jobs/*'
CLAIMED = ("intent", "effect", "result")
STAGED = ("step-done send",)
STARTED = ("step-done start-etcd", "step-done identity", "step-done start-apiserver")
BEFORE_THE_TOOL = ("step-done live", "step-done send")
BEFORE_THE_SWAP = ("step-done rebuilt", "step-done hold-etcd", "step-done stop-etcd")


Proof = Callable[[Scene, int], bool]
"""Whether it took effect, by the host and by the command's exit status."""


def by_death(_: Scene, status: int) -> bool:
    """The controller was killed."""
    return status == KILLED


def by_failure(_: Scene, status: int) -> bool:
    """The command did not end well."""
    return status != 0


@dataclass(frozen=True)
class Kind:
    """`do` happens at a moment that begins with one of `at` (none given: at any), and `mend` is
    done by the operator when the command has ended. `die`: the controller is killed instead."""

    family: str
    what: str
    do: Deed = nothing
    mend: Deed = nothing
    at: tuple[str, ...] = ()
    drivers: tuple[str, ...] = BOTH
    die: bool = False
    proof: Proof = lambda _scene, _status: True  # asked when the command has ended
    between: str = ""  # done between two commands: what is touched, and put back after the next

    def fits(self, moment: str) -> bool:
        """Whether it makes sense at that moment."""
        return not self.at or moment.startswith(self.at)


def _killed(what: str, *at: str) -> Kind:
    return Kind("controller", f"SIGKILL {what}", at=at, die=True, proof=by_death)


_SSH, _NODE, _DATA, _OTHERS = "SSH", "node", "data, TLS", "concurrency, drift"
KINDS: Mapping[str, Kind] = {
    "killed-before-intent": _killed("before an intent", "host-started"),
    "killed-after-intent": _killed("between an intent and its job", "intent"),
    "killed-after-effect": _killed("when a job has ended, before its result", "effect"),
    "killed-after-result": _killed("after a result", "result"),
    "killed-between-steps": _killed("between two steps", "step-done"),
    "killed-while-a-job-runs": Kind(
        "controller", "SIGKILL; its job keeps running, and the resume comes meanwhile",
        deeds.killed_while_a_job_runs, deeds.tool_back, ("host-started rebuild",),
        proof=by_death,
    ),
    "sigint": Kind("controller", "Ctrl-C", deeds.signalled(signal.SIGINT), proof=by_failure),
    "sigterm": Kind("controller", "SIGTERM", deeds.signalled(signal.SIGTERM), proof=by_failure),
    "controller-disk-full": Kind(
        "controller", "its journal cannot grow (RLIMIT_FSIZE)", deeds.controller_disk_full,
        at=("step-done live", "step-done send", "step-done rebuild", "step-done swap"),
        proof=by_failure,
    ),
    "journal-cut": Kind("controller", "half of the journal is gone", between="journal"),
    "journal-flipped": Kind("controller", "one bit of the journal", between="journal"),
    "state-lost": Kind(
        "controller", "the state directory is gone: the run is adopted", between="state"
    ),
    "sshd-killed": Kind(
        _SSH, "server and sessions by SIGKILL", deeds.sshd_killed, deeds.machine_on, drivers=LOCAL
    ),
    "connection-reset": Kind(
        _SSH, "all sessions by SIGKILL", deeds.sessions_killed, drivers=LOCAL
    ),
    "upload-cut": Kind(
        _SSH, "sessions killed while the file is sent", deeds.sessions_killed,
        at=("host-started send", "intent send"), drivers=LOCAL,
    ),
    "logins-hang": Kind(
        _SSH, "all sessions by SIGKILL, and no new ones for 6 s", deeds.logins_hang, drivers=LOCAL
    ),
    "peer-frozen": Kind(
        _SSH, "server and sessions freeze until the command has ended",
        deeds.peer_frozen, deeds.peer_thawed, drivers=LOCAL,
    ),
    "login-refused": Kind(
        _SSH, "the key is no longer accepted", deeds.login_refused, deeds.login_allowed,
        drivers=LOCAL,
    ),
    "host-key-changed": Kind(
        _SSH, "another host key", deeds.host_key_changed, deeds.host_key_back, drivers=LOCAL
    ),
    "machine-restarted": Kind(_NODE, "off and on again", deeds.machine_restarted),
    "machine-off": Kind(
        _NODE, "off until the command has ended", deeds.machine_off, deeds.machine_on
    ),
    "job-killed": Kind(
        _NODE, "the next job's body by SIGKILL", deeds.next_job_killed,
        at=("host-started send", "host-started rebuild", "host-started swap"),
        proof=deeds.a_job_was_killed,
    ),
    "tool-missing": Kind(
        _NODE, "etcdutl is missing", deeds.tool_missing, deeds.tool_back, BEFORE_THE_TOOL
    ),
    "tool-of-another-version": Kind(
        _NODE, "etcdutl is another version and restores nothing",
        deeds.tool_of_another_version, deeds.tool_back, BEFORE_THE_TOOL,
    ),
    "tool-dies": Kind(
        _NODE, "etcdutl is killed midway", deeds.tool_dies, deeds.tool_back, BEFORE_THE_TOOL
    ),
    "etcd-hangs": Kind(
        _NODE, "etcd does not stop when asked (SIGSTOP)", deeds.etcd_hangs, deeds.etcd_goes_on,
        ("step-done live", "host-started stop-etcd"),
    ),
    "etcd-killed": Kind(
        _NODE, "etcd by SIGKILL", deeds.etcd_killed,
        at=(*STARTED, "step-done live"),
    ),
    "apiserver-killed": Kind(
        _NODE, "the stand-in for the apiserver by SIGKILL", deeds.apiserver_killed,
        at=("step-done live", "step-done start-apiserver"), drivers=LOCAL,
    ),
    "etcd-started": Kind(
        _NODE, "someone tries to start etcd by its unit", lambda s: s.do("start", "etcd"),
        at=STOPPED,
    ),
    "apiserver-started": Kind(
        _NODE, "someone tries to start an apiserver", lambda s: s.do("start", "apiserver"),
        at=STOPPED, drivers=LOCAL,
    ),
    "fence-removed": Kind(
        _NODE, "the fence is removed, and etcd started",
        deeds.fence_removed,
        at=STOPPED, drivers=LOCAL,
    ),
    "etcd-by-hand": Kind(
        _NODE, "etcd runs without its unit", deeds.etcd_by_hand, deeds.by_hand_ends, STOPPED,
        LOCAL,
    ),
    "foreign-file": Kind(
        _NODE, "a file in the data directory that is not etcd's",
        shell('echo "not etcd\'s" > "$data/lost+found.txt"'),
        mending('rm -f "$data/lost+found.txt"'), ("step-done live",),
    ),
    "mode-changed": Kind(
        _NODE, "the data directory has another mode", shell('chmod 755 "$data"'),
        mending('chmod 700 "$data"'), ("step-done live", "step-done stop-etcd"),
    ),
    "folder-read-only": Kind(
        _NODE, "nothing can be renamed beside the data", deeds.folder_read_only,
        deeds.folder_writable, BEFORE_THE_SWAP, LOCAL,
    ),
    "writes-refused": Kind(
        _NODE, "no file can grow over 8 KiB (RLIMIT_FSIZE)", deeds.writes_refused,
        deeds.writes_accepted, ("host-started send", "step-done send"), LOCAL,
    ),
    "disk-full": Kind(
        _NODE, "the data's own disk is full", deeds.disk_full, deeds.disk_has_room,
        ("host-started send", "step-done send"), DOCKER,
    ),
    "records-lost": Kind(
        _NODE, "the node forgets its jobs", each(JOBS, 'rm -rf -- "$f"'),
        at=("effect", "result"),
    ),
    "owner-lost": Kind(
        _NODE, "the node forgets who locked it", shell('rm "$work/owner"'), at=CLAIMED
    ),
    "owner-altered": Kind(
        _NODE, "another run holds the lock until the command has ended",
        deeds.owner_altered, deeds.owner_gives_back, CLAIMED,
    ),
    "copy-altered": Kind(
        _DATA, "one bit of a staged copy", each(COPIES, FLIP), at=STAGED
    ),
    "copy-truncated": Kind(
        _DATA, "a staged copy is shorter", each(COPIES, 'truncate -s -5000 "$f"'), at=STAGED
    ),
    "copy-exchanged": Kind(
        _DATA, "a staged copy is another snapshot", each(COPIES, EXCHANGE), at=STAGED
    ),
    "copy-removed": Kind(
        _DATA, "a staged copy is gone", each(COPIES, 'rm "$f"'), at=STAGED
    ),
    "rebuilt-removed": Kind(
        _DATA, "the rebuilt data is gone", each('"$stage"/*/new', 'rm -rf -- "$f"'), at=REBUILT
    ),
    "rebuilt-altered": Kind(
        _DATA, "one bit of a rebuilt value", each('"$stage"/*/new/*/member/snap/db', FLIP),
        at=REBUILT,
    ),
    "data-altered": Kind(
        _DATA, "one bit of a value after the swap", each('"$data/member/snap/db"', FLIP),
        at=("step-done swap",),
    ),
    "certificate-foreign": Kind(
        _DATA, "etcd's certificate is from another CA",
        lambda s: deeds.certificate(Authority.new(), None)(s), deeds.certificate_back,
        ("step-done live", *BEFORE_THE_SWAP),
    ),
    "certificate-expired": Kind(
        _DATA, "etcd's certificate expired", deeds.certificate(None, timedelta(days=-1)),
        deeds.certificate_back, ("step-done live", *BEFORE_THE_SWAP),
    ),
    "second-operator": Kind(_OTHERS, "a restore from another machine", deeds.second_operator),
    "second-session": Kind(_OTHERS, "a resume in another terminal", deeds.second_session),
    "inventory-drifted": Kind(
        _OTHERS, "the inventory names another data directory", between="inventory"
    ),
    "snapshot-damaged": Kind(_OTHERS, "one bit of the operator's snapshot", between="snapshot"),
    "etcd-slow": Kind("cluster", "a member freezes for 6 s", deeds.etcd_slow, at=STARTED),
    "network-cut": Kind(
        "cluster", "a member cannot reach the others", deeds.network_cut, deeds.network_mended,
        BEFORE_THE_SWAP, DOCKER,
    ),
}  # fmt: skip


def of(driver: str) -> list[str]:
    """The kinds that the driver's labs can have, in the table's order."""
    return [name for name, kind in KINDS.items() if driver in kind.drivers]


def main() -> None:
    name, driver, directory, host, state = sys.argv[1:]
    with suppress(NotDone):
        KINDS[name].do(Scene(driver, Path(directory), host, Path(state)))
        with Path(state).with_name("happened").open("a") as file:
            file.write(f"{name}\n")


if __name__ == "__main__":
    main()
