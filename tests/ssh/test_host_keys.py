"""Host keys on every hop, jump hosts, and the trust step, against real servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from drctl.errors import HostKeyChanged, HostUnavailable, InvalidInput, Unreachable
from drctl.ssh import record_host_keys, scan_host_keys
from drctl.transport import Script
from tests.ssh.conftest import Site
from tests.ssh.nodes import Host, Node, public


def _touch(path: Path) -> Script:
    return Script("t", f"touch {path}")


def _pair(site: Site, **more: object) -> tuple[Node, Node, tuple[Host, Host]]:
    jump, target = site.node(site.keys.other), site.node(site.keys.host)
    spec = f"{site.host('x', jump).user}@127.0.0.1:{jump.port}"
    hosts = (site.host("bastion", jump), site.host("n1", target, jump=more.get("jump", spec)))
    return jump, target, hosts


def test_changed_key_runs_nothing_and_shows_both_fingerprints(site: Site, tmp_path: Path) -> None:
    node = site.node()
    site.trust(node, site.keys.other)
    with pytest.raises(HostKeyChanged) as caught:
        site.transport(site.host("n1", node)).run("n1", _touch(tmp_path / "ran"), deadline=30)
    message, hint = caught.value.message, caught.value.hint or ""
    assert message.count("SHA256:") == 2
    assert f"{site.known_hosts}:1" in message
    assert f"ssh-keygen -f '{site.known_hosts}' -R '[127.0.0.1]:{node.port}'" in hint
    assert caught.value.host == "n1"
    assert not (tmp_path / "ran").exists()


def test_unknown_key_points_to_trust(site: Site, tmp_path: Path) -> None:
    node = site.node()
    site.ssh_config.write_text("StrictHostKeyChecking no\n")
    with pytest.raises(HostKeyChanged, match="not in known_hosts") as caught:
        site.transport(site.host("n1", node)).run("n1", _touch(tmp_path / "ran"), deadline=30)
    assert "drctl trust" in (caught.value.hint or "")
    assert "ignores StrictHostKeyChecking no" in caught.value.message
    assert not (tmp_path / "ran").exists()
    assert not site.known_hosts.exists()


def test_revoked_key_is_refused(site: Site) -> None:
    node = site.node()
    site.trust(node)
    with site.known_hosts.open("a") as file:
        file.write(f"@revoked * {public(site.keys.host)}\n")
    with pytest.raises(HostKeyChanged, match="revoked"):
        site.transport(site.host("n1", node)).run("n1", Script("t", "true"), deadline=30)


def test_known_rsa_key_is_asked_for_although_the_server_prefers_another(site: Site) -> None:
    node = site.node(site.keys.host, site.keys.rsa)
    site.trust(node, site.keys.rsa)
    transport = site.transport(site.host("n1", node))
    assert transport.run("n1", Script("t", "echo ok"), deadline=30).stdout == "ok\n"


def test_key_of_a_kind_that_is_not_known_is_refused(site: Site) -> None:
    node = site.node(site.keys.host)
    site.trust(node, site.keys.rsa)
    with pytest.raises(HostKeyChanged, match=r"expected ssh-rsa .* got ssh-ed25519"):
        site.transport(site.host("n1", node)).run("n1", Script("t", "true"), deadline=30)


@pytest.mark.parametrize("by", ["spec", "name", "ssh_config"])
def test_jump_host(site: Site, by: str) -> None:
    jump, target, (bastion, n1) = _pair(site)
    if by == "name":
        n1 = site.host("n1", target, jump="bastion")
    if by == "ssh_config":
        n1 = site.host("n1", target)
        site.ssh_config.write_text(
            f"Host bastion\n HostName 127.0.0.1\n Port {jump.port}\n User {n1.user}\n"
            f" IdentityFile {site.keys.client}\nHost 127.0.0.1\n ProxyJump bastion\n"
        )
    if by == "spec":
        site.ssh_config.write_text(f"IdentityFile {site.keys.client}\n")
    site.trust(jump, site.keys.other)
    site.trust(target)
    result = site.transport(bastion, n1).run("n1", Script("t", "echo ok"), deadline=30)
    assert result.stdout == "ok\n"


@pytest.mark.parametrize("known", ["changed", "unknown"])
def test_bad_key_of_the_jump_host_runs_nothing(site: Site, tmp_path: Path, known: str) -> None:
    jump, target, _ = _pair(site)
    if known == "changed":
        site.trust(jump, site.keys.host)
    site.trust(target)
    hosts = (site.host("bastion", jump), site.host("n1", target, jump="bastion"))
    with pytest.raises(HostKeyChanged, match="bastion") as caught:
        site.transport(*hosts).run("n1", _touch(tmp_path / "ran"), deadline=30)
    assert caught.value.host == "n1"
    assert not (tmp_path / "ran").exists()


def test_changed_key_behind_the_jump_host(site: Site, tmp_path: Path) -> None:
    jump, target, _ = _pair(site)
    site.trust(jump, site.keys.other)
    site.trust(target, site.keys.other)
    hosts = (site.host("bastion", jump), site.host("n1", target, jump="bastion"))
    with pytest.raises(HostKeyChanged):
        site.transport(*hosts).run("n1", _touch(tmp_path / "ran"), deadline=30)
    assert not (tmp_path / "ran").exists()


def test_jump_host_that_cannot_reach_the_target(site: Site) -> None:
    jump, target, _ = _pair(site)
    site.trust(jump, site.keys.other)
    target.stop()
    with pytest.raises(Unreachable):
        hosts = (site.host("bastion", jump), site.host("n1", target, jump="bastion"))
        site.transport(*hosts).run("n1", Script("t", "true"), deadline=30)


def test_proxy_command_is_refused_in_plain_words(site: Site) -> None:
    site.ssh_config.write_text("ProxyCommand touch /tmp/never\n")
    with pytest.raises(InvalidInput, match="ProxyCommand, which drctl does not run"):
        site.transport(site.host("n1", site.node())).run("n1", Script("t", "true"), deadline=30)


def test_trust_then_run_through_a_jump_host(site: Site) -> None:
    jump, target, _ = _pair(site)
    hosts = {
        h.name: h for h in (site.host("bastion", jump), site.host("n1", target, jump="bastion"))
    }
    errors: list[HostUnavailable] = []

    def scan() -> dict[str, str]:
        found = scan_host_keys(
            hosts,
            known_hosts=site.known_hosts,
            ssh_config=site.ssh_config,
            on_error=errors.append,
        )
        record_host_keys(site.known_hosts, found)
        return {key.host: key.known for key in found}

    assert scan() == {"bastion": "unknown"}
    assert [e.host for e in errors] == ["n1"]
    assert scan() == {"bastion": "same", "n1": "unknown"}
    assert scan() == {"bastion": "same", "n1": "same"}
    assert site.known_hosts.stat().st_mode & 0o777 == 0o600
    assert len(site.known_hosts.read_text().splitlines()) == 2
    transport = site.transport(*hosts.values())
    assert transport.run("n1", Script("t", "echo ok"), deadline=30).stdout == "ok\n"


def test_scan_sees_every_kind_and_a_difference_is_never_recorded(site: Site) -> None:
    node = site.node(site.keys.host, site.keys.rsa)
    site.trust(node, site.keys.other)
    before = site.known_hosts.read_text()
    found = scan_host_keys(
        {"n1": site.host("n1", node)}, known_hosts=site.known_hosts, ssh_config=site.ssh_config
    )
    assert {(k.key_type, k.known) for k in found} == {
        ("ssh-ed25519", "different"),
        ("ssh-rsa", "unknown"),
    }
    assert {k.line for k in found} == {
        f"[127.0.0.1]:{node.port} {public(key)}" for key in (site.keys.host, site.keys.rsa)
    }
    with pytest.raises(HostKeyChanged, match="nothing was saved"):
        record_host_keys(site.known_hosts, found)
    assert site.known_hosts.read_text() == before
    added = record_host_keys(site.known_hosts, [k for k in found if k.known == "unknown"])
    assert [k.key_type for k in added] == ["ssh-rsa"]
    assert site.known_hosts.read_text() == before + added[0].line + "\n"


def test_scan_of_a_dead_host_is_unreachable(site: Site) -> None:
    node = site.node()
    node.stop()
    with pytest.raises(Unreachable):
        scan_host_keys({"n1": site.host("n1", node)}, known_hosts=None, ssh_config=site.ssh_config)
