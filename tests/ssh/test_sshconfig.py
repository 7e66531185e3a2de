"""ssh_config, read by `ssh -G` and by ourselves: the same answers, and no others than ssh's."""

from __future__ import annotations

import os
import pwd
import stat
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from drctl.errors import InvalidInput
from drctl.ssh import names, sshclient
from drctl.ssh.configfiles import ConfigFiles, Source, standard
from drctl.ssh.route import Router
from drctl.ssh.sshclient import SshClient, find_client
from drctl.ssh.sshconfig import HostSettings, Reader, SshSettings, settings
from tests.ssh.configs import ASKED, READ, REFUSED, Config, anchors, by_chance
from tests.ssh.nodes import Host

EACH, ROUNDS = 10, 20  # configurations by chance


@pytest.fixture(autouse=True)
def _no_ssh_of_the_user() -> None:
    """In place of conftest's: here the home is the real one, on which both readers must agree."""


@pytest.fixture(scope="module")
def client() -> Path:
    program = find_client()
    if program:
        return program
    why = "no OpenSSH client of 8.8 or newer to compare with (Debian: apt install openssh-client)"
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


def _written(folder: Path, config: Config) -> tuple[Path, list[Source]]:
    """The file to give to ssh, and the sources for our reader."""
    folder.mkdir(parents=True)
    for name, text in config.items():
        told = text.replace("{dir}", str(folder)).encode(errors="surrogateescape")
        (folder / name).write_bytes(told)
        (folder / name).chmod(0o600)
    if "system" not in config:
        return folder / "config", [Source(folder / "config")]
    both = folder / "both"  # -F leaves the system's file out, so it is included here
    both.write_text(f"Include {folder}/config\nMatch all\nInclude {folder}/system\n")
    return both, [Source(folder / "config"), Source(folder / "system")]


def _answer(
    reader: Reader, alias: str, user: str | None, port: int | None
) -> HostSettings | InvalidInput:
    try:
        return settings(alias, reader.read(alias, user, port))
    except InvalidInput as e:
        return e


def _compared(folder: Path, config: Config, client: Path) -> list[HostSettings | InvalidInput]:
    file, sources = _written(folder, config)
    answers = []
    for asked in ASKED:
        ssh, ours = (_answer(r, *asked) for r in (SshClient(client, file), ConfigFiles(sources)))
        both_refuse = isinstance(ssh, InvalidInput) and isinstance(ours, InvalidInput)
        assert both_refuse or ssh == ours, (asked, config, ssh, ours)
        answers.append(ours)
    return answers


@pytest.mark.parametrize("config", READ, ids=lambda c: ascii(c["config"][:40]))
def test_both_read_the_same(tmp_path: Path, config: Config, client: Path) -> None:
    for answer in _compared(tmp_path / "c", config, client):
        assert isinstance(answer, HostSettings), answer


@pytest.mark.parametrize("config", REFUSED, ids=lambda c: ascii(c["config"][:40]))
def test_both_refuse_the_same(tmp_path: Path, config: Config, client: Path) -> None:
    for answer in _compared(tmp_path / "c", config, client):
        assert isinstance(answer, InvalidInput), answer


@pytest.mark.parametrize("first", range(0, EACH * ROUNDS, EACH))
def test_both_read_the_same_by_chance(tmp_path: Path, first: int, client: Path) -> None:
    for seed in range(first, first + EACH):
        _compared(tmp_path / str(seed), by_chance(seed), client)


# -- each by itself ------------------------------------------------------------------------------


@pytest.fixture(params=["ssh", "ours"])
def reading(request: pytest.FixtureRequest) -> Callable[[Path], Reader]:
    """Either reader, for a file of its own."""
    if request.param == "ours":
        return lambda file: ConfigFiles(standard(file))
    program = request.getfixturevalue("client")
    return lambda file: SshClient(program, file)


def _of(reader: Reader, alias: str = "web", user: str | None = None) -> HostSettings:
    return SshSettings(reader=reader).of(alias, user)


def test_a_host_in_an_included_file_stays_in_the_block(
    tmp_path: Path, reading: Callable[[Path], Reader]
) -> None:
    config = f"Host other\n Include {{dir}}/a\nHost *\n{anchors('right')}"
    included = f"Host *\n{anchors('leaked', 'no')}"
    file, _ = _written(tmp_path / "c", {"config": config, "a": included})
    got = _of(reading(file))
    assert got.known_hosts == (
        Path("/right"),
        Path(pwd.getpwuid(os.getuid()).pw_dir) / "right",
        Path("/right.all"),
    )
    assert (got.lax, got.host_key_alias, str(got.jumps[0])) == ("", "as-right", "right@by-right:24")
    assert _of(reading(file), "other").host_key_alias == "as-leaked"


def test_home_is_the_user_databases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reading: Callable[[Path], Reader]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USER", "somebody")
    monkeypatch.setenv("LOGNAME", "somebody")
    file, _ = _written(tmp_path / "c", {"config": "IdentityFile ~/k\nUserKnownHostsFile ~/h %d/h"})
    account = pwd.getpwuid(os.getuid())
    got = _of(reading(file))
    assert got.identities == (Path(account.pw_dir) / "k",)
    assert got.known_hosts[:2] == (Path(account.pw_dir) / "h",) * 2
    assert got.user == account.pw_name
    assert standard(None)[0].path == Path(account.pw_dir) / ".ssh" / "config"


def test_a_name_that_dns_would_complete_is_refused(
    tmp_path: Path, reading: Callable[[Path], Reader]
) -> None:
    config = (
        "CanonicalizeHostname yes\nCanonicalDomains nowhere.invalid\n"
        "CanonicalizePermittedCNAMEs *:*\nCanonicalizeFallbackLocal no\n"
    )
    file, _ = _written(tmp_path / "c", {"config": config})
    with pytest.raises(InvalidInput, match="by DNS"):
        _of(reading(file))
    assert _of(reading(file), "a.whole.name.invalid").hostname == "a.whole.name.invalid"
    assert _of(reading(file), "127.0.0.1").hostname == "127.0.0.1"


def test_revoked_keys_are_not_passed_over(
    tmp_path: Path, reading: Callable[[Path], Reader]
) -> None:
    config = "Host web\n RevokedHostKeys /etc/ssh/revoked\nHost *\n RevokedHostKeys none\n"
    file, _ = _written(tmp_path / "c", {"config": config})
    with pytest.raises(InvalidInput, match="RevokedHostKeys '/etc/ssh/revoked'"):
        _of(reading(file), "web")
    assert _of(reading(file), "other").hostname == "other"


def test_a_file_that_others_can_write_is_refused(
    tmp_path: Path, reading: Callable[[Path], Reader]
) -> None:
    file, _ = _written(tmp_path / "c", {"config": "Include {dir}/a\n", "a": "User x\n"})
    assert _of(reading(file)).user == "x"
    (tmp_path / "c" / "a").chmod(0o602)
    with pytest.raises(InvalidInput, match=r"(?i)permissions on|writable by others"):
        _of(reading(file))


def test_the_users_own_file_is_looked_at_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "home", lambda: tmp_path)
    file, _ = _written(tmp_path / ".ssh", {"config": "User x\nInclude conf.d/*\n"})
    (tmp_path / ".ssh" / "conf.d").mkdir()
    (tmp_path / ".ssh" / "conf.d" / "one").write_text("Port 7\n")
    reader = ConfigFiles(standard(None))
    assert (_of(reader).user, _of(reader).port) == ("x", 7)
    file.chmod(0o602)
    with pytest.raises(InvalidInput, match="writable by others"):
        _of(reader)


def test_match_exec_is_for_ssh_alone(tmp_path: Path, client: Path) -> None:
    ran = tmp_path / "ran"
    file, _ = _written(tmp_path / "c", {"config": f'Match exec "touch {ran}"\n User x\n'})
    with pytest.raises(InvalidInput, match="only an OpenSSH client can evaluate `Match exec`"):
        _of(ConfigFiles(standard(file)))
    assert not ran.exists()
    assert _of(SshClient(client, file)).user == "x"
    assert ran.exists()


def test_a_match_exec_that_hangs_is_ended(
    tmp_path: Path, client: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sshclient, "DEADLINE", 1.0)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    config = f'Match exec "exec sleep 1000 > {fifo}"\n User x\n'
    file, _ = _written(tmp_path / "c", {"config": config})
    with pytest.raises(InvalidInput, match="did not finish within"):
        _of(SshClient(client, file))
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b""  # nobody has it open for writing any more
    os.close(reader)


# -- who is asked, and what reaches it -------------------------------------------------------------


def _fake_ssh(folder: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> Path:
    """An `ssh` on PATH that writes down with what it was started."""
    folder.mkdir()
    program, told = folder / "ssh", folder / "argv"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = -V ] && {{ {version}; exit; }}\n'
        f"printf '%s\\0' \"$@\" >>{told}\nprintf 'hostname x\\nuser u\\n'\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return told


def _words(told: Path) -> list[str]:
    return told.read_text().split("\0")[:-1] if told.exists() else []


@pytest.mark.parametrize(
    ("version", "used"),
    [
        ("echo OpenSSH_9.2p1 Debian-2, OpenSSL 3 >&2", True),
        ("echo OpenSSH_10.0p2 >&2", True),
        ("echo OpenSSH_8.7p1 >&2", False),
        ("echo Dropbear v2022.83 >&2", False),
        ("exit 1", False),
        ("kill -9 $$", False),
    ],
)
def test_only_an_openssh_that_runs_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, used: bool
) -> None:
    told = _fake_ssh(tmp_path / "bin", monkeypatch, version)
    (tmp_path / "config").write_text("HostName ours\n")
    got = SshSettings(tmp_path / "config").of("web")
    assert (got.hostname, told.exists()) == (("x", True) if used else ("ours", False))


def test_without_a_client_we_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "config").write_text("HostName ours\n")
    assert SshSettings(tmp_path / "config").of("web").hostname == "ours"


def test_what_ssh_is_started_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = _fake_ssh(tmp_path / "bin", monkeypatch, "echo OpenSSH_9.2p1 >&2")
    router = Router({"n1": Host("n1", "web", 2222, "root")}, SshSettings(), None)
    assert router.route("n1")[0].hostname == "x"
    words = _words(told)
    assert words[-6:] == ["-l", "root", "-p", "2222", "--", "web"]
    assert "-F" not in words  # it would drop the system's file


@pytest.mark.parametrize("name", ["-oProxyCommand=id", "a b", "$(id)", "a;b", "", "a\nb", "`id`"])
def test_no_other_name_reaches_ssh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    told = _fake_ssh(tmp_path / "bin", monkeypatch, "echo OpenSSH_9.2p1 >&2")
    for host in (
        Host("n", name),
        Host("n", "a", user=name or "-"),
        Host("n", "a", jump=f"{name}@b"),
    ):
        with pytest.raises(InvalidInput):
            Router({"n": host}, SshSettings(), None).route("n")
    assert name not in _words(told)


class _Counting:
    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def read(self, alias: str, user: str | None, port: int | None) -> dict[str, list[str]]:
        self.asked[alias] += 1
        return {"hostname": [alias]}


def test_each_host_is_asked_for_once() -> None:
    reader = _Counting()
    hosts = {f"n{n}": Host(f"n{n}", f"10.0.0.{n}", jump="bastion") for n in range(60)}
    router = Router(hosts, SshSettings(reader=reader), None)
    with ThreadPoolExecutor(16) as pool:
        routes = list(pool.map(router.route, [*hosts, *hosts]))
    assert {len(route) for route in routes} == {2}
    assert set(reader.asked.values()) == {1} and len(reader.asked) == 61
