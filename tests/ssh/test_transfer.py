"""Files over a real SSH server, whole, cut, refused and stopped."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from drctl.errors import AuthRefused, ConnectionLost, InvalidInput, Refused, StepFailed
from drctl.lab.waiting import until
from drctl.ssh import SshTransport
from drctl.ssh.frames import FRAME, Frames
from drctl.transport import Script
from tests.ssh.conftest import Site
from tests.ssh.nodes import HAVE_SSHD, SshdNode

BOUND = 10.0
SIZE = 20_000_003


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "snapshot.db"
    path.write_bytes(os.urandom(SIZE))
    return path


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("become", ["none", "sudo"])
def test_upload_is_whole_and_private(site: Site, source: Path, tmp_path: Path, become: str) -> None:
    node = site.node()
    site.trust(node)
    target = tmp_path / "it's a $dir" / "in" / "the file"
    steps: list[tuple[int, int]] = []
    site.transport(site.host("n1", node, become=become)).upload(
        "n1", source, str(target), deadline=60, progress=lambda *at: steps.append(at)
    )
    assert _sha(target) == _sha(source)
    assert (_mode(target), _mode(target.parent)) == (0o600, 0o700)
    assert steps[-1] == (SIZE, SIZE)
    assert steps == sorted(steps)


def test_upload_over_an_existing_file_makes_it_private(one: SshTransport, tmp_path: Path) -> None:
    source, target = tmp_path / "empty", tmp_path / "old"
    source.touch()
    target.write_text("old content")
    target.chmod(0o644)
    one.upload("n1", source, str(target), deadline=30)
    assert target.read_bytes() == b""
    assert (_mode(target), _mode(tmp_path)) == (0o600, _mode(tmp_path))


def test_node_that_cannot_take_the_file_says_why(
    site: Site, one: SshTransport, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    full = site.sudo / "tee"  # a disk with room for 1 MB
    full.write_text(
        "#!/bin/sh\n[ -p /dev/stdin ] || exit 0\nhead -c 1000000\n"
        "echo 'No space left on device' >&2\nexit 1\n"
    )
    full.chmod(0o755)
    for target, words in (
        (f"{tmp_path}/target", "No space left"),
        (f"{tmp_path}/file/x", "neither a directory"),
        ("/dev/full", "not made by drctl"),
    ):
        with pytest.raises(StepFailed, match=words) as caught:
            one.upload("n1", source, target, deadline=30)
        assert caught.value.host == "n1"
    assert one.run("n1", Script("t", "echo ok"), deadline=30).stdout == "ok\n"


@pytest.mark.parametrize("path", ["relative", "/a\nb", "", "/a\0b"])
def test_paths_that_are_none(one: SshTransport, source: Path, path: str) -> None:
    with pytest.raises(InvalidInput):
        one.upload("n1", source, path, deadline=30)
    with pytest.raises(InvalidInput):
        one.download("n1", path, source.with_name("x"), deadline=30)


def test_missing_source_is_invalid_input(one: SshTransport, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read on this machine"):
        one.upload("n1", tmp_path / "none", "/tmp/x", deadline=30)


@pytest.mark.parametrize("way", ["upload", "download"])
@pytest.mark.parametrize("harm", ["cut", "freeze"])
def test_broken_transfer_is_connection_lost(
    site: Site, source: Path, tmp_path: Path, way: str, harm: str
) -> None:
    relay = site.relay(site.node())
    site.trust(relay)
    transport = site.transport(site.host("n1", relay), stall=2)
    target = tmp_path / "target"

    def progress(done: int, total: int) -> None:
        if done > total / 20:  # what is under way by then, a window, is less than the rest
            getattr(relay, harm)()

    began = time.monotonic()
    ends = {"upload": (source, str(target)), "download": (str(source), target)}[way]
    with pytest.raises(ConnectionLost):
        getattr(transport, way)("n1", *ends, deadline=20, progress=progress)
    assert time.monotonic() - began < 20 + BOUND
    if way == "download":
        assert not target.exists()
    assert transport.run("n1", Script("t", "echo back"), deadline=30).stdout == "back\n"


@pytest.mark.skipif(not HAVE_SSHD, reason="no /usr/sbin/sshd on this machine")
@pytest.mark.parametrize("kind", ["sshd"], indirect=True)
@pytest.mark.parametrize(("number", "stall"), [("SIGSTOP", 2), ("SIGSTOP", 60), ("SIGKILL", 60)])
def test_stopped_or_killed_sshd_during_an_upload(
    site: Site, source: Path, tmp_path: Path, number: str, stall: float
) -> None:
    node = site.node()
    assert isinstance(node, SshdNode)
    site.trust(node)
    transport = site.transport(site.host("n1", node), stall=stall)
    assert transport.run("n1", Script("t", "true"), deadline=30).ok
    began = time.monotonic()
    with pytest.raises(ConnectionLost):
        transport.upload(
            "n1",
            source,
            f"{tmp_path}/target",
            deadline=6,
            progress=lambda *_: node.signal(signal.Signals[number]),
        )
    assert time.monotonic() - began < 6 + BOUND


def test_no_more_is_sent_than_the_rate_allows(
    one: SshTransport, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the waits that it asks for: as long as the file takes at that rate."""
    pauses: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: sum(pauses), sleep=pauses.append)
    monkeypatch.setattr("drctl.ssh.transfer.time", clock)
    size = source.stat().st_size
    one.upload("n1", source, f"{tmp_path}/slowly", deadline=60, rate=size / 7)
    assert sum(pauses) == pytest.approx(7)
    assert (tmp_path / "slowly").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("way", ["upload", "download"])
@pytest.mark.parametrize("error", [KeyError, OSError, KeyboardInterrupt])
def test_progress_that_raises_stops_the_transfer(
    one: SshTransport, source: Path, tmp_path: Path, way: str, error: type[BaseException]
) -> None:
    def stop(done: int, total: int) -> None:
        assert done < total
        raise error("enough")

    target = tmp_path / "target"
    ends = {"upload": (source, str(target)), "download": (str(source), target)}[way]
    with pytest.raises(error, match="enough"):
        getattr(one, way)("n1", *ends, deadline=30, progress=stop)
    assert one.run("n1", Script("t", "echo ok"), deadline=30).stdout == "ok\n"
    if way == "upload":
        assert not target.exists() or target.stat().st_size < SIZE
    else:
        assert not target.exists()


@pytest.mark.parametrize("become", ["none", "sudo"])
def test_download_is_whole_private_and_exclusive(
    site: Site, source: Path, tmp_path: Path, become: str
) -> None:
    node = site.node()
    site.trust(node)
    transport = site.transport(site.host("n1", node, become=become))
    target, steps = tmp_path / "got", list[tuple[int, int]]()
    transport.download(
        "n1", str(source), target, deadline=60, progress=lambda *at: steps.append(at)
    )
    assert _sha(target) == _sha(source)
    assert _mode(target) == 0o600
    assert steps[-1] == (SIZE, SIZE)
    with pytest.raises(Refused, match="already exists"):
        transport.download("n1", str(source), target, deadline=60)
    with pytest.raises(StepFailed, match="No such file"):
        transport.download("n1", f"{source}.none", tmp_path / "x", deadline=60)
    assert not (tmp_path / "x").exists()


def test_empty_file_both_ways(one: SshTransport, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    one.upload("n1", tmp_path / "empty", f"{tmp_path}/d/there", deadline=30)
    one.download("n1", f"{tmp_path}/d/there", tmp_path / "back", deadline=30)
    assert (tmp_path / "back").read_bytes() == b""


def test_local_disk_that_is_full_is_not_the_connections_fault(
    one: SshTransport, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(StepFailed, match="cannot be created on this machine"):
        one.download("n1", str(source), tmp_path / "none" / "x", deadline=30)


def test_sudo_that_refuses_a_transfer(site: Site, source: Path, tmp_path: Path) -> None:
    node = site.node()
    site.trust(node)
    (site.sudo / "refuse").touch()
    transport = site.transport(site.host("n1", node, become="sudo"))
    with pytest.raises(AuthRefused, match="password"):
        transport.upload("n1", source, f"{tmp_path}/target", deadline=30)
    with pytest.raises(AuthRefused, match="password"):
        transport.download("n1", str(source), tmp_path / "target", deadline=30)
    assert not (tmp_path / "target").exists()


def _in_the_way(site: Site, name: str, text: str) -> None:
    """A program that the node finds before the system's."""
    (site.sudo / name).write_text(f"#!/bin/sh\n{text}\n")
    (site.sudo / name).chmod(0o755)


NO_ZSTD = "exit 127"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ("tail -c +2", f"only {SIZE - 1} of {SIZE} bytes came"),
        ("{ printf 'drctl odd'; tail -c +10; }", "is not what was sent"),
    ],
)
def test_a_node_that_has_another_file_is_not_believed(
    site: Site, one: SshTransport, source: Path, tmp_path: Path, changed: str, words: str
) -> None:
    """Its programs end well all the same: what counts is what it has."""
    odd = f'[ -p /dev/stdin ] || exit 0\nfor last; do :; done\n{changed} | /usr/bin/tee -a "$last"'
    _in_the_way(site, "tee", odd)
    with pytest.raises(StepFailed, match=words):
        one.upload("n1", source, f"{tmp_path}/target", deadline=60)


@pytest.mark.parametrize(
    ("program", "text", "words"),
    [
        ("cat", '[ $# = 0 ] || echo "you have mail"\nexec /bin/cat "$@"', f"but {SIZE + 14} arr"),
        ("zstd", '[ "$1" = -qdc ] || echo "you have mail"\nexec /usr/bin/zstd "$@"', "damaged"),
        ("zstd", '/usr/bin/zstd "$@"\n[ "$1" = -qdc ] || echo "mail"', f"but {SIZE + 5} arrived"),
    ],
)
def test_what_is_wrong_with_a_download_is_noticed(
    site: Site, one: SshTransport, source: Path, tmp_path: Path, program: str, text: str, words: str
) -> None:
    if program == "cat":
        _in_the_way(site, "zstd", NO_ZSTD)
    elif not shutil.which("zstd"):
        pytest.skip("no zstd on this machine")
    _in_the_way(site, program, text)
    with pytest.raises(StepFailed, match=words):
        one.download("n1", str(source), tmp_path / "target", deadline=60)
    assert not (tmp_path / "target").exists()


@pytest.mark.skipif(not shutil.which("zstd"), reason="no zstd on this machine")
def test_a_packed_download_is_no_bomb(
    site: Site, one: SshTransport, source: Path, tmp_path: Path
) -> None:
    """50 KB on the way, 500 MB on the disk."""
    big = 'exec /usr/bin/zstd "$@"'
    _in_the_way(site, "zstd", f'[ "$1" = -qdc ] || exec 0< "{tmp_path}/zeros"\n{big}')
    with (tmp_path / "zeros").open("wb") as file:
        file.truncate(500_000_000)
    with pytest.raises(StepFailed, match="arrived") as caught:
        one.download("n1", str(source), tmp_path / "target", deadline=60)
    arrived = re.search(r"but (\d+) arrived", str(caught.value))
    assert arrived and int(arrived[1]) < SIZE + 2**26
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("packing", ["zstd", "plain"])
def test_a_cut_upload_goes_on_where_it_was(
    site: Site, source: Path, tmp_path: Path, packing: str
) -> None:
    if packing == "plain":
        _in_the_way(site, "zstd", NO_ZSTD)
    relay = site.relay(site.node())
    site.trust(relay)
    transport = site.transport(site.host("n1", relay))
    target = tmp_path / "d" / "target"

    def cut(done: int, total: int) -> None:
        if done > total / 2:
            relay.cut()

    with pytest.raises(ConnectionLost):
        transport.upload("n1", source, str(target), deadline=20, progress=cut)

    def is_settled() -> bool:
        before = target.stat().st_size
        time.sleep(0.5)
        return FRAME <= before == target.stat().st_size

    until(is_settled, 20, "what had arrived is written")
    assert not Path(f"{target}.sum").exists()
    steps: list[int] = []

    def note(done: int, total: int) -> None:
        steps.append(done)

    transport.upload("n1", source, str(target), deadline=60, go_on=True, progress=note)
    assert steps[0] > FRAME, "it began anew"
    assert _sha(target) == _sha(source)
    assert Path(f"{target}.sum").read_text() == f"{_sha(source)} {SIZE}\n"


def test_what_a_cut_upload_left_is_hashed_again(
    one: SshTransport, source: Path, tmp_path: Path
) -> None:
    """A part that the disk lost: said, and the next attempt begins anew."""
    target = tmp_path / "d" / "target"
    target.parent.mkdir(mode=0o700)
    target.write_bytes(bytes(FRAME + 5))
    with pytest.raises(StepFailed, match="is not what was sent"):
        one.upload("n1", source, str(target), deadline=60, go_on=True)
    one.upload("n1", source, str(target), deadline=60, go_on=True)
    assert _sha(target) == _sha(source)


@pytest.mark.parametrize("left", [FRAME, 2 * FRAME, 3 * FRAME])
def test_a_file_that_ends_with_a_whole_part(one: SshTransport, tmp_path: Path, left: int) -> None:
    source, target = tmp_path / "source", tmp_path / "d" / "target"
    source.write_bytes(os.urandom(2 * FRAME))
    target.parent.mkdir(mode=0o700)
    target.write_bytes(source.read_bytes()[:left] + bytes(max(0, left - 2 * FRAME)))
    if left > 2 * FRAME:  # more than there is to send: all of it is another file's
        with pytest.raises(StepFailed, match="is not what was sent"):
            one.upload("n1", source, str(target), deadline=60, go_on=True)
    one.upload("n1", source, str(target), deadline=60, go_on=True)
    assert _sha(target) == _sha(source)


def test_a_linked_part_is_not_gone_on_with(one: SshTransport, tmp_path: Path) -> None:
    """What else has a name for the file would be written through."""
    source, target, other = (tmp_path / name for name in ("source", "target", "other"))
    source.write_bytes(b"new")
    other.write_bytes(bytes(FRAME))
    target.hardlink_to(other)
    one.upload("n1", source, str(target), deadline=60, go_on=True)
    assert (target.read_bytes(), other.read_bytes()) == (b"new", bytes(FRAME))


@pytest.mark.parametrize("packing", ["zstd", "plain"])
def test_a_node_takes_the_file_packed_where_it_has_zstd(
    site: Site, one: SshTransport, tmp_path: Path, packing: str
) -> None:
    if packing == "plain":  # found before the system's
        _in_the_way(site, "zstd", NO_ZSTD)
    elif not shutil.which("zstd"):
        pytest.skip("no zstd on this machine")
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"the same again" * 10**6)
    asked = []

    def counted(frames: Frames, number: int, how: str) -> bytes:
        asked.append(how)
        return frame(frames, number, how)

    frame = Frames.frame
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Frames, "frame", counted)
        one.upload("n1", source, str(target), deadline=60)
    assert set(asked) == {packing}
    assert _sha(target) == _sha(source)
