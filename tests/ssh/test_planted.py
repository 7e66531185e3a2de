"""Something lies where a file is to be written, or fetched from: it is not written through."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from drctl.errors import StepFailed
from drctl.ssh import SshTransport


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_text("every Secret of the cluster")
    return path


def test_an_upload_never_goes_through_a_link(
    one: SshTransport, source: Path, tmp_path: Path
) -> None:
    precious, target = tmp_path / "precious", tmp_path / "target"
    precious.write_text("precious")
    target.symlink_to(precious)
    with pytest.raises(StepFailed, match="not made by drctl"):
        one.upload("n1", source, str(target), deadline=30)
    target.unlink()
    os.link(precious, target)
    one.upload("n1", source, str(target), deadline=30)
    assert target.read_bytes() == source.read_bytes()
    assert precious.read_text() == "precious"


def test_an_upload_does_not_wait_for_a_reader(
    one: SshTransport, source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    os.mkfifo(target)
    with pytest.raises(StepFailed, match="not made by drctl"):
        one.upload("n1", source, str(target), deadline=30)
    assert target.is_fifo()


def test_an_upload_needs_a_folder_that_nobody_else_writes(
    one: SshTransport, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    for target in ("open/file", "open/below/file"):
        with pytest.raises(StepFailed, match="chmod go-w"):
            one.upload("n1", source, f"{tmp_path}/{target}", deadline=30)
    assert not any((tmp_path / "open").iterdir())


def test_only_a_file_is_fetched_and_not_more_than_was_said(
    one: SshTransport, source: Path, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
    for name in ("fifo", "s", "."):
        with pytest.raises(StepFailed, match="not a file"):
            one.download("n1", f"{tmp_path}/{name}", tmp_path / "back", deadline=30)
    size = source.stat().st_size
    with pytest.raises(StepFailed, match="more than the limit"):
        one.download("n1", str(source), tmp_path / "back", deadline=30, limit=size - 1)
    assert not (tmp_path / "back").exists()
    one.download("n1", str(source), tmp_path / "back", deadline=30, limit=size)
