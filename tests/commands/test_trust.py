"""Host keys are shown, and recorded once somebody agrees."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import pytest

from drctl.ssh import ScannedKey
from tests.support.bench import Bench

BLOB = base64.b64encode(b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + b"k" * 32).decode()
KEY = ScannedKey(
    host="m1",
    address="127.0.0.11",
    port=22,
    key_type="ssh-ed25519",
    fingerprint_sha256="SHA256:of-m1",
    known="unknown",
    line=f"127.0.0.11 ssh-ed25519 {BLOB}",
)


@pytest.fixture
def known_hosts(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where they are recorded; one host is scanned, with a key that is new."""
    monkeypatch.setattr("drctl.commands.trust.scan_host_keys", lambda *_, **__: [KEY])
    monkeypatch.setattr("drctl.commands.trust.home", lambda: bench.folder)
    (bench.folder / ".ssh").mkdir()
    return bench.folder / ".ssh" / "known_hosts"


def trust(bench: Bench, *more: object) -> tuple[int, str, str]:
    ended = bench.drctl("trust", "--inventory", bench.inventory, *more)
    return ended.exit, ended.out, ended.err


def test_a_new_key_is_shown_and_recorded(bench: Bench, known_hosts: Path) -> None:
    status, out, err = trust(bench, "--yes")
    assert (status, known_hosts.read_text()) == (0, f"{KEY.line}\n")
    assert "SHA256:of-m1" in out
    assert f"1 keys recorded in {known_hosts}" in err


def test_a_no_records_nothing(
    bench: Bench, known_hosts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("drctl.cli.common.click.confirm", lambda text, **_: asked.append(text))
    status, out, _ = trust(bench)
    assert (status, known_hosts.exists()) == (10, False)
    assert "SHA256:of-m1" in out  # it could be compared
    (question,) = asked
    assert f"record 1 keys in {known_hosts}" in question


def test_a_known_key_asks_nobody(
    bench: Bench, known_hosts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = replace(KEY, known="same")
    monkeypatch.setattr("drctl.commands.trust.scan_host_keys", lambda *_, **__: [known])
    status, _, err = trust(bench)
    assert (status, known_hosts.exists()) == (0, False)
    assert "nothing new" in err
