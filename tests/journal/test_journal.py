"""The journal: nothing that happens to its file may be silently wrong."""

from __future__ import annotations

import os
import random
import resource
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

from drctl.errors import LockHeld, Refused
from drctl.journal.chain import Journal, chain_hash, read
from drctl.journal.runstate import Event, fold
from drctl.journal.store import Store


def written(path: Path, events: int = 40) -> tuple[Event, ...]:
    with closing(Journal(path)) as journal:
        for number in range(events):
            journal.append("value", name=f"name{number}", value="x" * (number % 7) * 40, step="é")
        return journal.events


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, tuple[Event, ...]]:
    path = tmp_path_factory.mktemp("good") / "journal.sqlite"
    events = written(path)
    return path.read_bytes(), events


def read_back(folder: Path, content: bytes) -> tuple[Event, ...] | None:
    """The events that a journal file of that content yields; None where it is refused."""
    path = folder / "journal.sqlite"
    path.write_bytes(content)
    try:
        with closing(Journal(path)) as journal:
            return journal.events
    except Refused as refused:
        assert refused.hint
        assert str(path) in refused.message
        return None
    finally:
        path.unlink()


def test_every_event_comes_back(tmp_path: Path) -> None:
    events = written(tmp_path / "j")
    with closing(Journal(tmp_path / "j")) as journal:
        assert journal.events == events
        assert journal.append("more").seq == 41
    assert events[3].when.utcoffset() is not None


def test_no_flipped_bit_is_silently_wrong(
    tmp_path: Path, good: tuple[bytes, tuple[Event, ...]]
) -> None:
    content, events = good
    chance = random.Random(20261123)
    refused = 0
    for _ in range(600):
        bad = bytearray(content)
        bad[chance.randrange(len(bad))] ^= 1 << chance.randrange(8)
        found = read_back(tmp_path, bytes(bad))
        refused += found is None
        assert found is None or found == events[: len(found)]
    assert refused > 150  # the sample does hit what matters


def test_no_truncation_is_silently_wrong(
    tmp_path: Path, good: tuple[bytes, tuple[Event, ...]]
) -> None:
    content, events = good
    for length in [*range(0, len(content), 997), *range(0, len(content), 4096), 1, 99, 100]:
        found = read_back(tmp_path, content[:length])
        assert found is None or found == events[: len(found)]


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE events SET body = replace(body, 'name7', 'name8') WHERE seq = 8",
        "UPDATE events SET at = '2020-01-01T00:00:00+00:00' WHERE seq = 8",
        "UPDATE events SET kind = 'finished' WHERE seq = 8",
        "UPDATE events SET body = CAST(body AS BLOB) WHERE seq = 8",
        "UPDATE events SET kind = CAST(X'fffe' AS TEXT) WHERE seq = 8",
        "DELETE FROM events WHERE seq = 8",
        "DELETE FROM events WHERE seq = 1",
        "DELETE FROM events",
        "UPDATE events SET seq = 99 WHERE seq = 40",
    ],
)
def test_an_edited_journal_is_refused(tmp_path: Path, edit: str) -> None:
    path = tmp_path / "j"
    written(path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(edit)
    with pytest.raises(Refused, match="is damaged"):
        Journal(path)


def test_an_event_hash_covers_every_field() -> None:
    base = ("h", 1, "at", "kind", "body")
    others = [("x", *base[1:]), ("h", 2, *base[2:]), ("h", 1, "x", "kind", "body")]
    others += [("h", 1, "at", "x", "body"), ("h", 1, "at", "kind", "x")]
    hashes = {chain_hash(*fields) for fields in [base, *others]}
    assert len(hashes) == 6


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """As a full disk: no file of this process may grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_said_and_the_journal_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / "j"
    events = written(path)
    with closing(Journal(path)) as journal:
        with no_file_beyond(path.stat().st_size), pytest.raises(Refused, match="cannot be written"):
            for _ in range(200):
                journal.append("value", name="n", value="x" * 500)
        stored = journal.events
        journal.append("after the disk was mended")
    with closing(Journal(path)) as journal:
        assert journal.events[:-1] == stored
        assert stored[:40] == events


def test_a_disk_that_is_full_from_the_start_is_no_damage(tmp_path: Path) -> None:
    with no_file_beyond(0), pytest.raises(Refused, match="cannot be written"):
        Journal(tmp_path / "j").append("first")
    assert not (tmp_path / "j").exists()


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    for attempt in (
        lambda: Journal(tmp_path),
        lambda: Journal(tmp_path / "nowhere" / "j").append("first"),
        lambda: Store(tmp_path / "taken").create("sim", "run"),
        lambda: Store(tmp_path / "taken").lock("sim", "me").__enter__(),
    ):
        with pytest.raises(Refused, match="cannot be written") as caught:
            attempt()
        assert caught.value.hint


def test_a_run_id_is_never_used_twice(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.create("sim", "run").close()
    with pytest.raises(Refused, match="cannot be written"):
        store.create("sim", "run")


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        store = Store(tmp_path / "deep" / "state")
        with store.lock("sim", "me"), closing(store.create("sim", "run")) as journal:
            journal.append("value", name="a", value="secret")
            paths = [store.folder, *store.folder.rglob("*")]
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in paths}
    finally:
        os.umask(old)
    assert modes == {
        "state": 0o700,
        "sim": 0o700,
        "lock": 0o600,
        "run": 0o700,
        "journal.sqlite": 0o600,
    }


HOLD = """
import sys, pathlib
from drctl.journal.store import Store
with Store(pathlib.Path(sys.argv[1])).lock("sim", "ann@desk"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdin and holder.stdout
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LockHeld) as caught, Store(tmp_path).lock("sim", "bob@lap"):
            pass
        with Store(tmp_path).lock("another", "bob@lap"):
            pass
        holder.stdin.close()
    assert caught.value.exit_code == 7
    assert f"ann@desk, process {holder.pid}, since 20" in caught.value.message
    with Store(tmp_path).lock("sim", "bob@lap"):
        assert "bob@lap" in (tmp_path / "sim" / "lock").read_text()
        assert "ann@desk" not in (tmp_path / "sim" / "lock").read_text()


def test_a_run_that_wrote_nothing_is_none(tmp_path: Path) -> None:
    """Killed before its first event: there is no journal without one."""
    store = Store(tmp_path)
    store.create("sim", "run").close()
    assert store.runs() == []
    with closing(store.create("sim", "another")) as journal:
        journal.append("run-started")
    assert store.runs() == [("sim", "another")]


def test_an_emptied_journal_is_no_new_one(tmp_path: Path) -> None:
    path = tmp_path / "j"
    written(path)
    path.write_bytes(b"")
    with pytest.raises(Refused, match="is damaged"):
        Journal(path)
    path.unlink()
    path.symlink_to("nowhere")
    with pytest.raises(Refused, match="cannot be written"):
        Journal(path)


def test_pages_in_disorder_are_refused_although_every_event_is_there(tmp_path: Path) -> None:
    """Seen with a flipped bit in the list of freed pages: all reads well, nothing can be added."""
    path = tmp_path / "j"
    written(path)
    content = bytearray(path.read_bytes())
    content[36:40] = (3).to_bytes(4, "big")  # the count of freed pages
    path.write_bytes(content)
    with pytest.raises(Refused, match="is damaged: its database is corrupt"):
        Journal(path)


def test_a_newer_drctls_events_are_left_alone(tmp_path: Path) -> None:
    with closing(Journal(None)) as journal:
        journal.append("value", name="a", value=1, step="")
        journal.append("an event of the future", what="ever")
        state = fold(journal.events)
    assert state.values == {"a": 1}


def test_a_reader_that_holds_it_up_costs_an_event_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be committed is not left open: what came later was a part of it, and on no
    disk at all."""
    path, connect = tmp_path / "journal.sqlite", sqlite3.connect
    impatient = partial(connect, timeout=0.05)
    monkeypatch.setattr("drctl.journal.chain.sqlite3.connect", impatient)
    with closing(Journal(path)) as journal:
        journal.append("first")
        with closing(connect(path)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM events").fetchone()
            for kind in ("held up", "held up too"):
                with pytest.raises(Refused, match="locked"):
                    journal.append(kind)
        journal.append("afterwards")
    assert [event.kind for event in read(path).events] == ["first", "afterwards"]


def test_subscribers_hear_what_is_on_disk(tmp_path: Path) -> None:
    path, heard = tmp_path / "j", []

    def hear(event: Event) -> None:
        with closing(sqlite3.connect(path)) as other:
            heard.append(other.execute("SELECT max(seq) FROM events").fetchone()[0] == event.seq)

    with closing(Journal(path)) as journal:
        journal.subscribe(hear)
        journal.append("one")
        journal.append("two")
    assert heard == [True, True]
