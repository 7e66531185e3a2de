"""What every Transport keeps to: the fake of the tests, and SSH to real servers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from drctl.errors import ConnectionLost
from drctl.transport import CommandResult, Script, Transport
from tests.ssh.conftest import KINDS
from tests.support.fake_transport import FakeTransport

ECHO = Script("echo", 'printf %s "$X"')
FAIL = Script("fail", "echo no >&2; exit 3")
LOST = Script("lost", "kill -9 $$")


def _echo(host: str, script: Script, env: Mapping[str, str]) -> str:
    return env["X"]


def _fail(host: str, script: Script, env: Mapping[str, str]) -> CommandResult:
    return CommandResult(3, "", "no\n")


def _lost(host: str, script: Script, env: Mapping[str, str]) -> CommandResult:
    raise ConnectionLost("lost", host=host)


def _fake() -> FakeTransport:
    return FakeTransport(
        handlers={"echo": _echo, "fail": _fail, "lost": _lost},
        on_upload=lambda _, source, target: _copy(source, Path(target)),
        on_download=lambda _, source, target: _copy(Path(source), target),
    )


def _copy(source: Path, target: Path) -> None:
    target.write_bytes(source.read_bytes())


@pytest.fixture(params=["fake", *KINDS])
def make(request: pytest.FixtureRequest) -> Callable[[], Transport]:
    if request.param == "fake":
        return _fake
    # Read only now: the fake needs no server.
    return lambda: request.getfixturevalue("one")


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of server that `one` uses, where it is used."""
    return str(request.node.callspec.params["make"])


@pytest.fixture
def transport(make: Callable[[], Transport]) -> Transport:
    return make()


def test_result_carries_status_and_streams(transport: Transport) -> None:
    result = transport.run("n1", ECHO, {"X": "a\n'$b"}, deadline=30)
    assert (result.ok, result.status, result.stdout, result.stderr) == (True, 0, "a\n'$b", "")
    assert result.seconds >= 0


def test_a_status_is_an_answer_and_raises_nothing(transport: Transport) -> None:
    result = transport.run("n1", FAIL, deadline=30)
    assert (result.ok, result.status, result.stderr) == (False, 3, "no\n")


def test_no_answer_is_connection_lost_and_names_the_host(transport: Transport) -> None:
    with pytest.raises(ConnectionLost) as caught:
        transport.run("n1", LOST, deadline=30)
    assert caught.value.host == "n1"


def test_files_come_whole_and_progress_ends_at_the_size(
    transport: Transport, tmp_path: Path
) -> None:
    source, there, back = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    source.write_bytes(bytes(range(256)) * 9000)
    steps: list[tuple[int, int]] = []
    transport.upload("n1", source, str(there), deadline=30, progress=lambda *at: steps.append(at))
    transport.download("n1", str(there), back, deadline=30)
    assert back.read_bytes() == source.read_bytes()
    size = source.stat().st_size
    assert steps[-1] == (size, size)


def test_close_may_be_repeated(transport: Transport) -> None:
    transport.close()
    transport.close()
