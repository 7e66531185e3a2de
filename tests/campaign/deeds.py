"""What goes wrong, and what somebody does about it afterwards."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from drctl.lab import witness
from drctl.lab.certs import Authority
from tests.campaign.scene import Scene
from tests.operator import Operator

Deed = Callable[[Scene], None]
SLOW_SECONDS = 6


def nothing(_: Scene) -> None:
    """Nobody does anything: the product copes, or needs nothing."""


def shell(script: str) -> Deed:
    """A script on the host."""
    return lambda scene: void(scene.sh(script))


def void(_: object) -> None:
    """Only the effect was wanted."""


def later(seconds: float, *argv: str) -> None:
    """Start a command that outlives this process, after a while."""
    words = ["sh", "-c", 'sleep "$0"; exec "$@"', str(seconds), *argv]
    subprocess.Popen(
        words, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


# The controller: the process that waits for this one.


def controller() -> int:
    """The pid of the drctl that started this deed, with or without a shell between."""
    parent = os.getppid()
    if b"tests.mortal" in Path(f"/proc/{parent}/cmdline").read_bytes().split(b"\0"):
        return parent
    stat = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()
    return int(stat[1])


def signalled(number: int) -> Deed:
    """A signal to the controller."""
    return lambda _: os.kill(controller(), number)


def controller_disk_full(scene: Scene) -> None:
    """No file of the controller can grow any more (RLIMIT_FSIZE stands in for the full disk)."""
    journal = max(scene.state.glob("*/*/journal.sqlite"))
    resource.prlimit(controller(), resource.RLIMIT_FSIZE, (journal.stat().st_size, -1))


def killed_while_a_job_runs(scene: Scene) -> None:
    """The tool takes three seconds longer, and after the first of them the controller dies."""
    tool_wrapped('sleep 3; exec "$real" "$@"')(scene)
    later(1, "kill", "-9", str(controller()))


# SSH


def sshd_killed(scene: Scene) -> None:
    listeners, sessions = scene.sshd()
    for pid in listeners + sessions:
        _signal(pid, signal.SIGKILL)


def sshd_back(scene: Scene) -> None:
    if not scene.sshd()[0]:
        machine_restarted(scene)


def sessions_killed(scene: Scene) -> None:
    """Every connection is reset; the server takes new ones."""
    for pid in scene.sshd()[1]:
        _signal(pid, signal.SIGKILL)


def listener_frozen(scene: Scene) -> None:
    """New connections hang for some seconds."""
    _freeze(scene.sshd()[0])


def peer_frozen(scene: Scene) -> None:
    """Nothing of the SSH server moves any more, without a word on the wire."""
    for pid in _all(scene):
        _signal(pid, signal.SIGSTOP)


def peer_thawed(scene: Scene) -> None:
    for pid in _all(scene):
        _signal(pid, signal.SIGCONT)


def login_refused(scene: Scene) -> None:
    scene.sh(f'{_AUTHORIZED} [ -e "$f" ] && mv "$f" "$f.away"')
    sessions_killed(scene)


def login_allowed(scene: Scene) -> None:
    scene.sh(f'{_AUTHORIZED} [ -e "$f.away" ] && mv "$f.away" "$f"')


_AUTHORIZED = "f=$(sed -n 's/^AuthorizedKeysFile //p' etc/sshd_config);"
_HOST_KEY = "f=$(sed -n 's/^HostKey //p' etc/sshd_config);"


def host_key_changed(scene: Scene) -> None:
    scene.sh(
        f'{_HOST_KEY} [ -e "$f.away" ] || mv "$f" "$f.away"\n'
        'ssh-keygen -q -t ed25519 -N "" -f "$f" </dev/null'
    )
    _reread(scene)


def host_key_back(scene: Scene) -> None:
    scene.sh(f'{_HOST_KEY} [ -e "$f.away" ] && mv "$f.away" "$f"')
    _reread(scene)


def _reread(scene: Scene) -> None:
    """The server executes itself anew on SIGHUP; whoever was in is thrown out."""
    listeners, sessions = scene.sshd()
    for pid in listeners:
        _signal(pid, signal.SIGHUP)
    for pid in sessions:
        _signal(pid, signal.SIGKILL)


def writes_refused(scene: Scene) -> None:
    """No file that the host's sessions write can grow over 8 KiB (RLIMIT_FSIZE stands in for the
    full disk, which only machines with disks of their own have)."""
    for pid in _all(scene):
        with suppress(OSError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (8192, -1))


def writes_accepted(scene: Scene) -> None:
    for pid in _all(scene):
        with suppress(OSError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (-1, -1))


# The node


def machine_restarted(scene: Scene) -> None:
    scene.site.power_off(scene.host)
    scene.site.power_on(scene.host)


def machine_off(scene: Scene) -> None:
    scene.site.power_off(scene.host)


def next_job_killed(scene: Scene) -> None:
    """The next job's body dies as soon as it runs: waited for on the host, in the background."""
    scene.sh(
        'before=" $(echo "$work"/*/jobs/*/pid) "\n'
        "(tries=2000; while [ $tries -gt 0 ]; do tries=$((tries - 1))\n"
        '  for f in "$work"/*/jobs/*/pid; do case $before in *" $f "*) continue ;; esac\n'
        '    read -r pid < "$f" && kill -9 "$pid" && exit; done\n'
        "  sleep 0.01; done) </dev/null >/dev/null 2>&1 &"
    )


def tool_wrapped(body: str) -> Deed:
    """etcdutl is a script around the real one, "$real"."""

    def do(scene: Scene) -> None:
        scene.sh(
            'cd "$bin" && { [ -e etcdutl.real ] || cp -pL etcdutl etcdutl.real; } &&\n'
            "{ [ -e etcdutl.away ] || mv etcdutl etcdutl.away; } && cat > etcdutl <<'END'\n"
            f'#!/bin/sh\nreal=$(dirname "$0")/etcdutl.real\n{body}\nEND\nchmod 755 etcdutl'
        )

    return do


tool_missing = shell('cd "$bin" && [ -e etcdutl ] && mv etcdutl etcdutl.away')
tool_back = shell('cd "$bin" && [ -e etcdutl.away ] && mv -f etcdutl.away etcdutl')
tool_dies = tool_wrapped('"$real" "$@" & sleep 0.02; kill -9 $!; wait; exit 137')
tool_of_another_version = tool_wrapped('echo "etcdutl version: 3.4.3"; echo "API version: 3.4"')
folder_read_only = shell('chmod 555 "$(dirname "$data")"')
folder_writable = shell('chmod 755 "$(dirname "$data")"')


def etcd_slow(scene: Scene) -> None:
    """etcd does nothing for some seconds."""
    _stopped_for_a_while(scene)


def _stopped_for_a_while(scene: Scene) -> None:
    scene.sh(
        f'(for p in $(pgrep -f "^$bin/etcd .*$data"); do kill -STOP "$p"; sleep {SLOW_SECONDS};'
        ' kill -CONT "$p"; done) </dev/null >/dev/null 2>&1 &'
    )


def etcd_hangs(scene: Scene) -> None:
    scene.etcd("STOP")


def etcd_goes_on(scene: Scene) -> None:
    scene.etcd("CONT")


def etcd_by_hand(scene: Scene) -> None:
    """Somebody starts etcd without its unit, in a terminal, as the unit would."""
    scene.sh(
        """argv=$(sed -n '/etcd.stamp/,/^autorestart/p' etc/supervisord.conf |
  sed -e '1,2d' -e '/^autorestart/d' | tr '\\n' ' ')
cd "$data" 2>/dev/null || exit 0
nohup $argv </dev/null >/dev/null 2>&1 & echo $! > "$work/../by-hand.pid" """
    )
    time.sleep(1)


by_hand_ends = shell(
    'f="$work/../by-hand.pid"; [ -e "$f" ] && kill "$(cat "$f")"; rm -f "$f"; sleep 1'
)


def fence_removed(scene: Scene) -> None:
    """Somebody takes the fence away, and starts etcd."""
    scene.sh("rm -f etc/fence/etcd")
    scene.do("start", "etcd")


def disk_full(scene: Scene) -> None:
    scene.sh(
        'at=$data; [ -d "$at" ] || at=$(dirname "$at")\n'
        'dd if=/dev/zero of="$at/ballast" bs=1M 2>/dev/null'
    )


disk_has_room = shell('rm -f "$data/ballast" "$(dirname "$data")/ballast"')

# What drctl has on the node


def flipped(pattern: str) -> Deed:
    """One bit in the middle of each file that matches."""

    def do(scene: Scene) -> None:
        for path, content in scene.read(pattern).items():
            middle = len(content) // 2
            changed = content[:middle] + bytes([content[middle] ^ 16]) + content[middle + 1 :]
            scene.write(path, changed)

    return do


def exchanged(scene: Scene) -> None:
    """The staged copy is another sound snapshot: its trailer fits."""
    for path, content in scene.read('"$stage"/*/snapshot.db').items():
        body = content[:-32] + b"\0" * 4096  # bbolt reads as many pages as its meta page tells
        scene.write(path, body + hashlib.sha256(body).digest())


copy_truncated = shell(
    'for f in "$stage"/*/snapshot.db; do [ -f "$f" ] && truncate -s -5000 "$f"; done'
)
owner_altered = shell('sed -i.before "s/^run=.*/run=somebody-elses/" "$work/owner"')
owner_back = shell('f="$work/owner"; [ -e "$f.before" ] && mv -f "$f.before" "$f"')

# Certificates


def certificate(of: Authority | None, valid: timedelta | None) -> Deed:
    """etcd's certificate on the host is another one: of a strange authority, or run out."""

    def do(scene: Scene) -> None:
        authority = of or scene.site.authority
        names = [scene.node.address]
        if valid:
            made = authority.issue("kubernetes", addresses=names, valid=valid)
        else:
            made = authority.issue("kubernetes", addresses=names)
        scene.sh('for f in "$cert" "$key"; do cp -p "$f" "$f.before"; done')
        scene.write('"$cert"', made.cert)
        scene.write('"$key"', made.key)

    return do


certificate_back = shell(
    'for f in "$cert" "$key"; do [ -e "$f.before" ] && mv -f "$f.before" "$f"; done'
)

# Others


def second_operator(scene: Scene) -> None:
    """Another machine: must be turned away. Its status is left beside the state directory."""
    other = Operator(scene.site.inventory, scene.state.with_name("another-machine"))
    _note(scene, other.restore(scene.snapshot, "--replace-healthy"))


def second_session(scene: Scene) -> None:
    """The same operator in another terminal."""
    _note(scene, scene.operator.resume())


def _note(scene: Scene, ended: subprocess.CompletedProcess[str]) -> None:
    with scene.state.with_name("second").open("a") as file:
        file.write(f"{ended.returncode}\n")


def network_cut(scene: Scene) -> None:
    others = [node.name for node in witness.members(scene.site) if node.name != scene.host]
    scene.site.cut(scene.host, others)


def network_mended(scene: Scene) -> None:
    scene.site.mend()


def _freeze(pids: list[int]) -> None:
    for pid in pids:
        _signal(pid, signal.SIGSTOP)
        later(SLOW_SECONDS, "kill", "-CONT", str(pid))


def _all(scene: Scene) -> list[int]:
    listeners, sessions = scene.sshd()
    return listeners + sessions


def _signal(pid: int, number: int) -> None:
    with suppress(OSError):
        os.kill(pid, number)
