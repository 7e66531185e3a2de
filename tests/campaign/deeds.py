"""What goes wrong, and what somebody does about it afterwards. A deed that finds nothing to do it
to raises NotDone; what mends takes the world as it is."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from itertools import chain
from pathlib import Path

from drctl.drill import witness
from drctl.lab.certs import Authority
from tests.campaign.scene import NotDone, Scene
from tests.support.operator import Operator

Deed = Callable[[Scene], None]
SLOW_SECONDS = 6


def nothing(_: Scene) -> None:
    """Nobody does anything: the product copes, or needs nothing."""


def shell(script: str) -> Deed:
    """A script on the host, that ends well where it did something."""
    return lambda scene: scene.did(script)


def mending(script: str) -> Deed:
    """A script on the host, that may find nothing to mend."""

    def do(scene: Scene) -> None:
        scene.sh(script)

    return do


def each(pattern: str, script: str) -> Deed:
    """A script for each file that matches, "$f"; at least one must."""
    return shell(
        f'done=\nfor f in {pattern}; do [ -e "$f" ] || continue\n{script} || exit\ndone=yes\n'
        'done; [ "$done" = yes ]'
    )


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
    if b"tests.support.mortal" in Path(f"/proc/{parent}/cmdline").read_bytes().split(b"\0"):
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
    for pid in _all(scene):
        _signal(pid, signal.SIGKILL)


def sessions_killed(scene: Scene) -> None:
    """Every connection is reset; the server takes new ones."""
    for pid in _some(scene.sshd()[1]):
        _signal(pid, signal.SIGKILL)


def logins_hang(scene: Scene) -> None:
    """The connections are reset, and new ones hang for some seconds."""
    for pid in _some(scene.sshd()[0]):
        _signal(pid, signal.SIGSTOP)
        later(SLOW_SECONDS, "kill", "-CONT", str(pid))
    sessions_killed(scene)


def peer_frozen(scene: Scene) -> None:
    """Nothing of the SSH server moves any more, without a word on the wire."""
    for pid in _all(scene):
        _signal(pid, signal.SIGSTOP)


def peer_thawed(scene: Scene) -> None:
    for pid in chain(*scene.sshd()):
        _signal(pid, signal.SIGCONT)


def login_refused(scene: Scene) -> None:
    scene.did(f'{_AUTHORIZED} mv "$f" "$f.away"')
    sessions_killed(scene)


def login_allowed(scene: Scene) -> None:
    scene.sh(f'{_AUTHORIZED} [ -e "$f.away" ] && mv "$f.away" "$f"')


_AUTHORIZED = "f=$(sed -n 's/^AuthorizedKeysFile //p' etc/sshd_config);"
_HOST_KEY = "f=$(sed -n 's/^HostKey //p' etc/sshd_config);"


def host_key_changed(scene: Scene) -> None:
    scene.did(
        f'{_HOST_KEY} mv "$f" "$f.away" || exit\nssh-keygen -q -t ed25519 -N "" -f "$f" </dev/null'
    )
    _reread(scene)


def host_key_back(scene: Scene) -> None:
    scene.sh(f'{_HOST_KEY} [ -e "$f.away" ] && mv "$f.away" "$f"')
    _reread(scene)


def _reread(scene: Scene) -> None:
    """The server executes itself anew on SIGHUP; whoever was in is thrown out."""
    listeners, sessions = scene.sshd()
    for pid in _some(listeners):
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
    for pid in chain(*scene.sshd()):
        with suppress(OSError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (-1, -1))


# The node


def machine_restarted(scene: Scene) -> None:
    scene.site.power_off(scene.host)
    scene.site.power_on(scene.host)


def machine_off(scene: Scene) -> None:
    scene.site.power_off(scene.host)


def machine_on(scene: Scene) -> None:
    """Where it is not: a second start would be two machines."""
    if scene.is_off:
        if scene.driver == "local":  # what the host ran besides its SSH server
            scene.site.power_off(scene.host)
        scene.site.power_on(scene.host)


def next_job_killed(scene: Scene) -> None:
    """The next job's body dies as soon as it runs: waited for on the host, in the background."""
    scene.sh(
        'rm -f "$work/../job-killed"; before=" $(echo "$work"/*/jobs/*/pid) "\n'
        "(tries=2000; while [ $tries -gt 0 ]; do tries=$((tries - 1))\n"
        '  for f in "$work"/*/jobs/*/pid; do case $before in *" $f "*) continue ;; esac\n'
        '    read -r pid < "$f" && kill -9 "$pid" && : > "$work/../job-killed" && exit; done\n'
        "  sleep 0.01; done) </dev/null >/dev/null 2>&1 &"
    )


def a_job_was_killed(scene: Scene, _status: int) -> bool:
    """Whether the background found one; asked once."""
    return scene.sh('f="$work/../job-killed"; [ -e "$f" ] && rm "$f" && echo yes').strip() == "yes"


def tool_wrapped(body: str) -> Deed:
    """etcdutl is a script around the real one, "$real"."""

    def do(scene: Scene) -> None:
        scene.did(
            'cd "$bin" && { [ -e etcdutl.real ] || cp -pL etcdutl etcdutl.real; } &&\n'
            "{ [ -e etcdutl.away ] || mv etcdutl etcdutl.away; } && cat > etcdutl <<'END'\n"
            f'#!/bin/sh\nreal=$(dirname "$0")/etcdutl.real\n{body}\nEND\nchmod 755 etcdutl'
        )

    return do


tool_missing = shell('cd "$bin" && mv etcdutl etcdutl.away')
tool_back = mending('cd "$bin" && [ -e etcdutl.away ] && mv -f etcdutl.away etcdutl')
tool_dies = tool_wrapped('"$real" "$@" & sleep 0.02; kill -9 $!; wait; exit 137')
tool_of_another_version = tool_wrapped('echo "etcdutl version: 3.4.3"; echo "API version: 3.4"')
# For root no folder is read-only: then there is no such fault.
folder_read_only = shell(
    'at=$(dirname "$data"); chmod 555 "$at" || exit\n'
    'if mkdir "$at/probe" 2>/dev/null; then rmdir "$at/probe"; chmod 755 "$at"; exit 1; fi'
)
folder_writable = mending('chmod 755 "$(dirname "$data")"')
etcd_slow = shell(
    'pids=$(pgrep -f "^$bin/etcd .*$data") && kill -STOP $pids || exit\n'
    f"(sleep {SLOW_SECONDS}; kill -CONT $pids) </dev/null >/dev/null 2>&1 &"
)
apiserver_killed = shell(
    'at=$(sed -n "s/^ *--listen //p" etc/supervisord.conf) && [ -n "$at" ] || exit\n'
    'pids=$(pgrep -f "apiserver_stand_in --listen $at") && kill -9 $pids'
)


def etcd_hangs(scene: Scene) -> None:
    scene.etcd("STOP")


def etcd_killed(scene: Scene) -> None:
    scene.etcd("KILL")


etcd_goes_on = mending('for p in $(pgrep -f "^$bin/etcd .*$data"); do kill -CONT "$p"; done')


# Somebody starts etcd without its unit, in a terminal, as the unit would.
etcd_by_hand = shell(
    """argv=$(sed -n '/etcd.stamp/,/^autorestart/p' etc/supervisord.conf |
  sed -e '1,2d' -e '/^autorestart/d' | tr '\\n' ' ')
cd "$data" || exit
nohup $argv </dev/null >/dev/null 2>&1 & pid=$!
echo "$pid" > "$work/../by-hand.pid"
sleep 1; kill -0 "$pid" """
)
by_hand_ends = mending(
    'f="$work/../by-hand.pid"; [ -e "$f" ] && kill "$(cat "$f")"; rm -f "$f"; sleep 1'
)


def fence_removed(scene: Scene) -> None:
    """Somebody takes the fence away, and starts etcd."""
    scene.did("rm etc/fence/etcd")
    scene.do("start", "etcd")


disk_full = shell(
    'at=$data; [ -d "$at" ] || at=$(dirname "$at")\n'
    'dd if=/dev/zero of="$at/ballast" bs=1M 2>/dev/null\n'
    '[ "$(df -Pk "$at" | awk \'NR == 2 { print $4 }\')" -lt 2048 ]'
)
disk_has_room = mending('rm -f "$data/ballast" "$(dirname "$data")/ballast"')

# What drctl has on the node

# One bit of the value of one of the snapshot's keys, wherever the file has it: most of a database
# is free pages, where a change is none.
FLIP = """places=$(grep -abo 'lab/item-000030' "$f" | cut -d: -f1); [ -n "$places" ] || exit 1
for at in $places; do
  at=$((at + 40)); old=$(dd if="$f" bs=1 skip=$at count=1 2>/dev/null | od -An -tu1 | tr -d ' ')
  printf "\\\\$(printf %03o $((old ^ 16)))" | dd of="$f" bs=1 seek=$at conv=notrunc 2>/dev/null
  new=$(dd if="$f" bs=1 skip=$at count=1 2>/dev/null | od -An -tu1 | tr -d ' ')
  [ "$new" = $((old ^ 16)) ] || exit 1
done"""
# Another sound snapshot: bbolt reads as many pages as its meta page tells, and the trailer fits.
EXCHANGE = """head -c -32 "$f" > "$f.x" && head -c 4096 /dev/zero >> "$f.x" || exit
sum=$(sha256sum < "$f.x"); sum=${sum%% *}
while [ -n "$sum" ]; do
  rest=${sum#??}; printf "\\\\$(printf %03o "0x${sum%"$rest"}")" >> "$f.x"; sum=$rest
done
cat "$f.x" > "$f" && rm "$f.x" """
owner_altered = shell('sed -i "s/^run=.*/run=somebody-elses/" "$work/owner"')
owner_gives_back = mending('grep -qs "^run=somebody-elses" "$work/owner" && rm "$work/owner"')

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
        scene.did('for f in "$cert" "$key"; do cp -p "$f" "$f.before" || exit; done')
        scene.write('"$cert"', made.cert)
        scene.write('"$key"', made.key)

    return do


certificate_back = mending(
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


def _all(scene: Scene) -> list[int]:
    listeners, sessions = scene.sshd()
    return _some(listeners + sessions)


def _some(pids: list[int]) -> list[int]:
    if not pids:
        raise NotDone("no such process")
    return pids


def _signal(pid: int, number: int) -> None:
    with suppress(OSError):
        os.kill(pid, number)
