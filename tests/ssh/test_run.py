"""Scripts over a real SSH server: what reaches the shell, what comes back, how it may fail."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from drctl.errors import AuthRefused, ConnectionLost, InvalidInput, StepFailed, Unreachable
from drctl.ssh import SshTransport
from drctl.ssh.limits import Countdown
from drctl.ssh.output import Marks, Output
from drctl.transport import Script
from tests.ssh.conftest import Site
from tests.ssh.nodes import HAVE_SSHD, SshdNode, make_key

BOUND = 10.0  # a call may end this much after its deadline, and no later

NASTY = {
    "NEWLINES": "a\nb\n\n",
    "QUOTES": "it's \"quoted\" `id` '\"'\"'",
    "DOLLAR": "$HOME ${PATH} $(id) \\n \\",
    "UNICODE": "žluťoučký 日本 🚀",
    "EMPTY": "",
    "DASHES": "-n --help",
    "GLOBS": "* ? [a-z] ~ ! # & ; | < >",
    "TABS": "\t x \r y",
}


@pytest.mark.parametrize("name", sorted(NASTY))
def test_value_reaches_the_shell_as_it_is(one: SshTransport, name: str) -> None:
    result = one.run("n1", Script("t", f'printf %s "${name}"'), NASTY, deadline=30)
    assert (result.status, result.stdout) == (0, NASTY[name])


@pytest.mark.parametrize("env", [{"A B": "x"}, {"A": "x\0y"}, {"1A": ""}, {"A;id": ""}])
def test_unusable_variables_are_refused(one: SshTransport, env: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        one.run("n1", Script("t", "true"), env, deadline=30)


def test_status_and_both_streams(one: SshTransport) -> None:
    result = one.run("n1", Script("t", "echo out; echo err >&2; exit 7"), deadline=30)
    assert (result.status, result.stdout, result.stderr) == (7, "out\n", "err\n")
    assert one.run("n1", Script("t", "false"), deadline=30).status == 1


def test_much_of_both_streams(one: SshTransport) -> None:
    body = "for s in 1 2; do head -c 3000000 /dev/zero | tr '\\0' x >&$s; done"
    result = one.run("n1", Script("t", body), deadline=60)
    assert (len(result.stdout), len(result.stderr)) == (3000000, 3000000)


def test_too_much_output_is_an_error_and_bounded(one: SshTransport) -> None:
    body = "head -c 20000000 /dev/zero | tr '\\0' x"
    with pytest.raises(StepFailed, match="limit 8388608"):
        one.run("n1", Script("t", body), deadline=60)
    assert one.run("n1", Script("t", "echo ok"), deadline=30).stdout == "ok\n"


class Endless:
    """A channel on which there is always more, as from a host that never stops talking."""

    eof_received = closed = False

    def __init__(self) -> None:
        self.status_event = threading.Event()
        self.in_buffer = self.in_stderr_buffer = self
        self.reads = 0

    def set_event(self, event: threading.Event) -> None:
        event.set()

    def recv_ready(self) -> bool:
        return True

    recv_stderr_ready = recv_ready

    def recv(self, _size: int) -> bytes:
        self.reads += 1
        assert self.reads < 10_000, "it never looked at the countdown"
        return b"x"

    recv_stderr = recv


def test_a_host_that_never_stops_talking_ends_by_the_deadline() -> None:
    class Soon(Countdown):
        asked = 0

        def left(self, at_most: float = 1.0) -> float:
            self.asked += 1
            return 0.0 if self.asked > 9 else at_most

    marks = Marks("ready", "script")
    Output(Endless(), marks).drain(Soon(1))  # type: ignore[arg-type]  # as much of a channel as it needs
    with pytest.raises(AuthRefused, match=r"went on printing.*: xxx"):
        Output(Endless(), marks).await_mark(1, Soon(1))  # type: ignore[arg-type]  # likewise


def test_output_that_is_not_utf8_is_replaced(one: SshTransport) -> None:
    result = one.run("n1", Script("t", "printf 'a\\377b'"), deadline=30)
    assert result.stdout == "a\N{REPLACEMENT CHARACTER}b"


def test_script_and_values_are_in_no_process_list(one: SshTransport) -> None:
    body = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; cat /proc/self/environ; : canary-in-script"
    result = one.run("n1", Script("t", body), {"SECRET": "canary-in-env"}, deadline=30)
    assert "sh -s" in result.stdout
    assert "canary" not in result.stdout


def test_children_do_not_eat_the_script(one: SshTransport) -> None:
    result = one.run("n1", Script("t", "cat; read x; sh -c cat; echo after"), deadline=30)
    assert result.stdout == "after\n"


def test_syntax_error_runs_nothing_and_is_a_result(one: SshTransport, tmp_path: Path) -> None:
    result = one.run("n1", Script("t", f"touch {tmp_path}/ran\nif true; then"), deadline=30)
    assert result.status != 0
    assert "yntax error" in result.stderr
    assert not (tmp_path / "ran").exists()


# The asyncssh node tells the status only when the output has ended.
@pytest.mark.skipif(not HAVE_SSHD, reason="no /usr/sbin/sshd on this machine")
@pytest.mark.parametrize("kind", ["sshd"], indirect=True)
def test_a_child_that_holds_the_output_open_is_not_waited_for(one: SshTransport) -> None:
    result = one.run("n1", Script("t", "sleep 60 & echo $!; exit 3"), deadline=50)
    assert result.status == 3
    one.run("n1", Script("t", f"kill {int(result.stdout)}"), deadline=30)


def test_two_threads_share_one_connection(site: Site, tmp_path: Path) -> None:
    relay = site.relay(site.node())
    site.trust(relay)
    transport = site.transport(site.host("n1", relay))
    results: dict[str, str] = {}

    def meet(me: str, other: str) -> None:
        body = 'touch "$D/$ME"; until [ -e "$D/$OTHER" ]; do sleep 0.05; done; echo "$ME"'
        env = {"D": str(tmp_path), "ME": me, "OTHER": other}
        results[me] = transport.run("n1", Script("t", body), env, deadline=30).stdout

    threads = [threading.Thread(target=meet, args=pair) for pair in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {"a": "a\n", "b": "b\n"}
    assert relay.accepted == 1


def test_cut_in_the_middle_is_unknown(site: Site, tmp_path: Path) -> None:
    relay = site.relay(site.node())
    site.trust(relay)
    transport = site.transport(site.host("n1", relay))
    _later(tmp_path / "began", relay.cut)
    body = f"touch {tmp_path}/began; sleep 8"
    with pytest.raises(ConnectionLost, match="unknown") as caught:
        transport.run("n1", Script("stop-etcd", body), deadline=30)
    assert caught.value.host == "n1"
    assert "stop-etcd" in caught.value.message
    again = transport.run("n1", Script("t", "echo back"), deadline=30)
    assert again.stdout == "back\n"


def _later(path: Path, act: Callable[[], object]) -> None:
    """Act when there is a file at `path`; not waited for longer than a test may last."""

    def wait() -> None:
        gives_up = time.monotonic() + 60
        while not path.exists() and time.monotonic() < gives_up:
            time.sleep(0.02)
        act()

    threading.Thread(target=wait, daemon=True).start()


def test_cut_script_is_not_run_in_part(one: SshTransport) -> None:
    from drctl.ssh import session

    whole = session.wrapped(Script("t", "echo one\necho two"), {"A": "x"}, Marks("r", "s"))
    import subprocess

    for end in range(len(whole)):
        done = subprocess.run(["sh", "-s"], input=whole[:end], capture_output=True, check=False)
        assert done.stdout in (b"", b"s-begun\none\ntwo\ns-ended 0\n")


def test_frozen_peer_ends_by_the_deadline(site: Site, tmp_path: Path) -> None:
    relay = site.relay(site.node())
    site.trust(relay)
    transport = site.transport(site.host("n1", relay))
    assert transport.run("n1", Script("t", "true"), deadline=30).ok
    _later(tmp_path / "began", relay.freeze)
    began = time.monotonic()
    with pytest.raises(ConnectionLost, match="no answer within 9 s"):
        transport.run("n1", Script("t", f"touch {tmp_path}/began; sleep 5"), deadline=9)
    assert time.monotonic() - began < 9 + BOUND
    assert transport.run("n1", Script("t", "echo back"), deadline=30).stdout == "back\n"


@pytest.mark.skipif(not HAVE_SSHD, reason="no /usr/sbin/sshd on this machine")
@pytest.mark.parametrize("kind", ["sshd"], indirect=True)
def test_stopped_sshd_ends_by_the_deadline_even_while_sending(site: Site) -> None:
    node = site.node()
    assert isinstance(node, SshdNode)
    site.trust(node)
    transport = site.transport(site.host("n1", node))
    assert transport.run("n1", Script("t", "true"), deadline=30).ok
    big = Script("t", "# " + "x" * 30_000_000)
    timer = threading.Timer(0.3, node.signal, (signal.SIGSTOP,))
    timer.start()
    began = time.monotonic()
    with pytest.raises((ConnectionLost, Unreachable)):
        transport.run("n1", Script("t", "sleep 1\n" + big.body), deadline=4)
    timer.join()
    assert time.monotonic() - began < 4 + BOUND


def test_silent_server_is_unreachable_in_time(site: Site) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        silent = site.host("n1", site.relay(site.node()), port=listener.getsockname()[1])
        began = time.monotonic()
        with pytest.raises(Unreachable):
            site.transport(silent, connect=1).run("n1", Script("t", "true"), deadline=5)
        assert time.monotonic() - began < 5 + BOUND


def test_refused_port_and_unknown_name_are_unreachable(site: Site) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    node = site.node()
    transport = site.transport(
        site.host("n1", node, port=port), site.host("n2", node, address="nowhere.invalid")
    )
    for name, words in (("n1", "refused"), ("n2", "does not resolve|within")):
        with pytest.raises(Unreachable, match=words) as caught:
            transport.run(name, Script("t", "true"), deadline=10)
        assert caught.value.host == name


@pytest.mark.parametrize("death", ["cut", "freeze"])
def test_connection_that_died_while_idle_is_made_again(site: Site, death: str) -> None:
    relay = site.relay(site.node())
    site.trust(relay)
    transport = site.transport(site.host("n1", relay), connect=10)
    assert transport.run("n1", Script("t", "true"), deadline=30).ok
    getattr(relay, death)()
    assert transport.run("n1", Script("t", "echo again"), deadline=30).stdout == "again\n"
    assert relay.accepted == 2


def test_login_refused(site: Site, tmp_path: Path) -> None:
    node = site.node()
    site.trust(node)
    stranger = make_key(tmp_path / "stranger")
    transport = site.transport(
        site.host("n1", node, key=stranger), site.host("n2", node, key=tmp_path / "none")
    )
    for name, words in (("n1", "stranger: refused"), ("n2", "no such file")):
        with pytest.raises(AuthRefused, match=words) as caught:
            transport.run(name, Script("t", "true"), deadline=30)
        assert caught.value.hint


def test_sudo_runs_or_is_refused_with_a_hint(site: Site, tmp_path: Path) -> None:
    node = site.node()
    site.trust(node)
    transport = site.transport(site.host("n1", node, become="sudo"))
    env = {"X": "it's"}
    result = transport.run("n1", Script("t", 'echo "$SUDO_FAKE $X"'), env, deadline=30)
    assert result.stdout == "1 it's\n"
    (site.sudo / "refuse").touch()
    with pytest.raises(AuthRefused, match="a password is required") as caught:
        transport.run("n1", Script("t", f"touch {tmp_path}/ran"), deadline=30)
    assert caught.value.hint and "NOPASSWD" in caught.value.hint
    assert not (tmp_path / "ran").exists()


def test_a_script_that_says_what_sudo_says_is_a_result(one: SshTransport) -> None:
    result = one.run(
        "n1", Script("t", "echo 'sudo: a password is required' >&2; exit 1"), deadline=9
    )
    assert result.status == 1


def test_killed_shell_is_unknown_not_failed(one: SshTransport) -> None:
    with pytest.raises(ConnectionLost, match="unknown"):
        one.run("n1", Script("t", "kill -9 $$"), deadline=30)


def test_close_ends_calls_and_threads_and_may_be_repeated(site: Site, tmp_path: Path) -> None:
    node = site.node()
    site.trust(node)
    before = set(threading.enumerate())
    transport = site.transport(site.host("n1", node))
    _later(tmp_path / "began", transport.close)
    with pytest.raises(ConnectionLost):
        transport.run("n1", Script("t", f"touch {tmp_path}/began; sleep 8"), deadline=30)
    transport.close()
    with pytest.raises(Unreachable, match="closed"):
        transport.run("n1", Script("t", "true"), deadline=30)
    _gone = time.monotonic() + 30
    while set(threading.enumerate()) - before and time.monotonic() < _gone:
        time.sleep(0.05)
    assert not set(threading.enumerate()) - before


def test_host_that_is_not_in_the_inventory(one: SshTransport) -> None:
    with pytest.raises(InvalidInput, match="n9"):
        one.run("n9", Script("t", "true"), deadline=30)
