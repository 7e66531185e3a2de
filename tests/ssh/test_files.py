"""known_hosts and ssh_config, without a server."""

from __future__ import annotations

import base64
import hmac
import os
import pwd
from pathlib import Path

import pytest

from drctl.errors import InvalidInput
from drctl.ssh import KnownHosts, ScannedKey, fingerprint, names, record_host_keys
from drctl.ssh.known_hosts import lookup_name
from drctl.ssh.route import Route, Router
from drctl.ssh.sshconfig import SshSettings
from tests.ssh.nodes import Host

A, B = base64.b64encode(b"key-a").decode(), base64.b64encode(b"key-b").decode()


def _known(tmp_path: Path, text: str) -> KnownHosts:
    file = tmp_path / "known_hosts"
    file.write_text(text)
    return KnownHosts.load([tmp_path / "none", file])


def _hashed(name: str) -> str:
    salt = b"s" * 20
    digest = hmac.digest(salt, name.encode(), "sha1")
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize(
    ("pattern", "name", "known"),
    [
        ("host", "host", True),
        ("Host", "host", True),
        ("a,host", "host", True),
        ("*.example.org", "x.example.org", True),
        ("*.example.org,!x.example.org", "x.example.org", False),
        ("h?st", "host", True),
        ("[host]:2222", "[host]:2222", True),
        ("[host]:2222", "host", False),
        ("host", "[host]:2222", False),
        ("[h*]:2222", "[host]:2222", True),
        (_hashed("host"), "host", True),
        (_hashed("host"), "hosts", False),
        ("|1|broken", "host", False),
        ("h.st", "host", False),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, name: str, known: bool) -> None:
    hosts = _known(tmp_path, f"{pattern} ssh-ed25519 {A}\n")
    assert (hosts.check(name, b"key-a").state == "same") is known


def test_states_and_lines(tmp_path: Path) -> None:
    text = (
        f"# c\n\nhost ssh-ed25519 {A} comment\nbroken\nhost ssh-rsa !!!\n@revoked * ssh-rsa {B}\n"
    )
    hosts = _known(tmp_path, text)
    assert [e.line for e in hosts.entries] == [3, 6]
    assert hosts.check("host", b"key-c").state == "different"
    assert hosts.check("host", b"key-b").state == "revoked"
    assert hosts.check("other", b"key-c").state == "unknown"


def test_second_key_of_one_type_is_good_too(tmp_path: Path) -> None:
    hosts = _known(tmp_path, f"host ssh-ed25519 {A}\nhost ssh-ed25519 {B}\n")
    assert hosts.check("host", b"key-b").state == "same"


def test_algorithms_of_known_keys_come_first(tmp_path: Path) -> None:
    hosts = _known(tmp_path, f"host ssh-rsa {A}\n")
    offered = ("ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256")
    assert hosts.preferred("host", offered) == ("rsa-sha2-512", "rsa-sha2-256", "ssh-ed25519")


def test_certificate_authority_is_told_apart(tmp_path: Path) -> None:
    hosts = _known(tmp_path, f"@cert-authority *.x ssh-ed25519 {A}\n")
    assert hosts.has_authority("a.x")
    assert hosts.check("a.x", b"key-a").state == "unknown"


def test_fingerprint_is_opensshs() -> None:
    # printf key-a | openssl dgst -sha256 -binary | base64
    assert fingerprint(b"key-a").startswith("SHA256:")
    assert "=" not in fingerprint(b"key-a")
    assert lookup_name("Host", 22) == "host"
    assert lookup_name("::1", 2222) == "[::1]:2222"


def _key(name: str, blob: str) -> ScannedKey:
    line = f"{name} ssh-ed25519 {blob}"
    return ScannedKey(name, name, 22, "ssh-ed25519", "SHA256:x", "unknown", line)


def test_recording_keeps_what_is_there(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.write_text("# no newline at the end")
    link = tmp_path / "known_hosts"
    link.symlink_to(real)
    blob = base64.b64encode(b"\0\0\0\x0bssh-ed25519" + b"x" * 32).decode()
    keys = [_key("host", blob)]
    assert record_host_keys(link, keys) == keys
    assert record_host_keys(link, keys) == []
    assert real.read_text() == f"# no newline at the end\nhost ssh-ed25519 {blob}\n"
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "home") == ["known_hosts", "real"]


def _route(tmp_path: Path, config: str, *hosts: Host) -> Route:
    file = tmp_path / "config"
    file.write_text(config)
    router = Router({h.name: h for h in hosts}, SshSettings(file), tmp_path / "kh")
    return router.route(hosts[0].name)


def test_inventory_overrides_ssh_config(tmp_path: Path) -> None:
    config = "Host web\n HostName 10.0.0.9\n Port 2200\n User cfg\n IdentityFile ~/k\n"
    (end,) = _route(tmp_path, config, Host("n1", "web", user=None))
    assert (end.hostname, end.port, end.user) == ("10.0.0.9", 2200, "cfg")
    assert end.identities == (names.home() / "k",)
    assert end.known_hosts[0] == tmp_path / "kh"
    assert end.known_as == "[10.0.0.9]:2200"
    (end,) = _route(tmp_path, config, Host("n1", "web", 22, "inv", Path("/key")))
    assert (end.port, end.user, end.identities) == (22, "inv", (Path("/key"),))


def test_known_hosts_options(tmp_path: Path) -> None:
    config = "UserKnownHostsFile /a %d/b\nGlobalKnownHostsFile none\nHostKeyAlias Cluster\n"
    (end,) = _route(tmp_path, config, Host("n1", "web"))
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)  # not $HOME, as with ssh
    assert end.known_hosts == (tmp_path / "kh", Path("/a"), home / "b")
    assert end.known_as == "cluster"


def test_jump_chain_order(tmp_path: Path) -> None:
    config = "Host a\n ProxyJump first\n"
    hosts = (Host("n1", "web", jump="u@a:2222,b"), Host("x"))
    assert [e.label for e in _route(tmp_path, config, *hosts)] == ["first", "u@a:2222", "b", "n1"]


def test_jump_to_itself_and_none(tmp_path: Path) -> None:
    assert len(_route(tmp_path, "", Host("n1", "web", jump="n1"))) == 1
    own = "Host j\n HostName web\nHost *\n ProxyJump j\n"
    assert len(_route(tmp_path, own, Host("n1", "web"))) == 1
    assert len(_route(tmp_path, "ProxyJump x\n", Host("n1", "web", jump="none"))) == 1


@pytest.mark.parametrize(
    ("config", "host", "words"),
    [
        ("", Host("n1", "-oProxyCommand=id"), "not a usable host name"),
        ("", Host("n1", "a", user="-x"), "not a usable user"),
        ("HostName a;b\n", Host("n1", "a"), "not a usable host name"),
        ("Port x\n", Host("n1", "a"), "port 'x'"),
        ("ProxyCommand nc %h %p\n", Host("n1", "a"), "ProxyCommand"),
        ("", Host("n1", "a", jump="b c@:x"), "jump host"),
        ("", Host("n1", "a", jump="-oProxyCommand=id"), "not a usable host name"),
        ("", Host("n1", "a", jump="-x@b"), "not a usable user"),
        ("Host *\n ProxyJump a\n", Host("n1", "a"), "loop via a"),
        ("Host a\n ProxyJump b\nHost b\n ProxyJump a:1\n", Host("n1", "a"), "loop"),
    ],
)
def test_what_is_refused(tmp_path: Path, config: str, host: Host, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        _route(tmp_path, config, host)


def test_proxy_command_is_no_matter_where_a_jump_host_is_given(tmp_path: Path) -> None:
    route = _route(tmp_path, "Host a\n ProxyCommand nc\n", Host("n1", "a", jump="b"))
    assert [e.label for e in route] == ["b", "n1"]
