"""On the embedded lab, real etcd over real SSH: what etcd says is heard in step 1, whatever the
environment of a login holds, and whatever the snapshot is packed in."""

from __future__ import annotations

import gzip
import json
import lzma
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from drctl.inventory import load_inventory
from drctl.lab import certs, data, layout
from drctl.lab.gateway import GatewayError
from drctl.lab.layout import Lab
from drctl.lab.local import driver
from tests.lab.test_restore import footprint, write_later
from tests.support.labs import content, quiet
from tests.support.operator import KILLED, Operator

pytestmark = pytest.mark.lab

LOGIN = {
    "ETCDCTL_USER": "nobody:nothing",
    "ETCDCTL_DISCOVERY_SRV": "etcd.invalid",
    "ETCDCTL_INSECURE_SKIP_TLS_VERIFY": "true",
    "ETCDCTL_ENDPOINTS": "127.0.0.1:1",
    "ETCD_NAME": "other",
    "HTTPS_PROXY": "http://127.0.0.1:1",
}


@pytest.fixture
def lab(tmp_path: Path, etcd_dir: Path) -> Iterator[Lab]:
    driver.up(tmp_path / "lab", etcd=etcd_dir, keys=50, value_size=64, say=quiet)
    yield layout.require(tmp_path / "lab")
    driver.down(tmp_path / "lab", quiet)


def give_environment(lab: Lab) -> None:
    """What /etc/environment would give every login, by the SSH server's own file."""
    site = driver.site(lab.directory)
    for host in lab.hosts:
        site.power_off(host.name)
        ours = host.etc / "asyncssh.json"
        config = json.loads(ours.read_text())
        config["environment"] |= LOGIN
        ours.write_text(json.dumps(config))
        theirs = host.etc / "sshd_config"
        more = "".join(f" {name}={value}" for name, value in LOGIN.items())
        theirs.write_text(re.sub("^(SetEnv .*)$", rf"\1{more}", theirs.read_text(), flags=re.M))
        site.power_on(host.name)
        site.start(host.name, "etcd")


def test_a_login_with_any_environment(lab: Lab, tmp_path: Path) -> None:
    operator = Operator(lab.inventory, tmp_path / "state")
    give_environment(lab)
    seen = driver.site(lab.directory).sh(lab.hosts[0].name, "env")
    status = operator.types("status", *operator.on, "--output", "json")
    assert status.returncode == 0, (status.stderr, seen)
    assert all(member["healthy"] for member in json.loads(status.stdout)["members"])
    snapshot = operator.backup(tmp_path / "backup")
    saved = content(lab)
    write_later(lab)
    assert operator.types("preflight", *operator.on).returncode == 0
    restored = operator.restore(snapshot, "--replace-healthy")
    assert restored.returncode == 0, restored.stderr
    assert content(lab) == saved
    assert operator.types("verify", *operator.on).returncode == 0


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "xz": lzma.compress,
    "zst": zstandard.compress,
}


def pack(snapshot: Path, how: str) -> Path:
    path = snapshot.with_name(f"{snapshot.name}.{how}")
    path.write_bytes(PACKERS[how](snapshot.read_bytes()))
    return path


def test_a_packed_snapshot_is_sent_unpacked_and_resumed_packed(lab: Lab, tmp_path: Path) -> None:
    operator = Operator(lab.inventory, tmp_path / "state")
    snapshot = operator.backup(tmp_path / "backup")
    saved = content(lab)
    write_later(lab)
    packed = {how: pack(snapshot, how) for how in ("gz", "xz", "zst")}
    snapshot.unlink()
    for path in packed.values():
        looked = operator.types("preflight", *operator.on, "--snapshot", str(path))
        assert looked.returncode == 0, looked.stderr
    dry = operator.restore(packed["xz"], "--replace-healthy", "--dry-run", "--output", "json")
    assert dry.returncode == 0, dry.stderr
    assert json.loads(dry.stdout)["snapshot"]["path"] == str(packed["xz"])
    killed = operator.restore(packed["gz"], "--replace-healthy", die="intent send")
    assert killed.returncode == KILLED, killed.stderr
    other = operator.resume("--snapshot", str(packed["zst"]))  # the same, packed otherwise
    assert other.returncode == 0, other.stderr
    assert content(lab) == saved
    run = operator.last_run()
    assert run["snapshot"]["path"] in map(str, packed.values())


def test_who_is_in_the_cluster_and_not_in_the_inventory(lab: Lab, tmp_path: Path) -> None:
    operator = Operator(lab.inventory, tmp_path / "state")
    snapshot = operator.backup(tmp_path / "backup")
    with data.gateway(lab.hosts[0]) as gateway:
        new = {"peerURLs": ["https://127.0.64.9:2380"], "isLearner": True}
        # etcd takes a member only when all others have been heard for some seconds.
        for attempt in Retrying(
            retry=retry_if_exception_type(GatewayError),
            stop=stop_after_delay(30),
            wait=wait_fixed(0.5),
            reraise=True,
        ):
            with attempt:
                gateway.call("/v3/cluster/member/add", new)
    before = footprint(lab)
    looked = operator.types("status", *operator.on, "--output", "json")
    assert looked.returncode == 9, looked.stderr
    last = json.loads(looked.stdout)["members"][-1]
    assert last["learner"] and "never started" in last["reason"]
    for tried in (
        operator.types("preflight", *operator.on),
        operator.restore(snapshot, "--replace-healthy", "--dry-run"),
        operator.restore(snapshot, "--replace-healthy"),
        operator.restore(snapshot, "--replace-healthy", "--staged"),
    ):
        assert tried.returncode == 4, tried.stderr
        assert "one that never started (a learner) at https://127.0.64.9:2380" in tried.stderr
        assert "etcdctl member remove" in tried.stderr
    assert footprint(lab) == before


def test_authentication_that_knows_another(lab: Lab, tmp_path: Path) -> None:
    """A user of the certificate's name whose role lacks root, as in row 14 of what went wrong."""
    operator = Operator(lab.inventory, tmp_path / "state")
    name = common_name(lab)
    with data.gateway(lab.hosts[0]) as gateway:
        gateway.call("/v3/auth/role/add", {"name": "root"})
        gateway.call("/v3/auth/role/add", {"name": "reading"})
        for user, role in (("root", "root"), (name, "reading")):
            if user:
                gateway.call("/v3/auth/user/add", {"name": user, "password": "x"})
                gateway.call("/v3/auth/user/grant", {"user": user, "role": role})
        snapshot_before = operator.backup(tmp_path / "before")
        gateway.call("/v3/auth/enable", {})
    looked = operator.types("status", *operator.on)
    assert looked.returncode == 9 and "refuses drctl (" in looked.stderr, looked.stderr
    words = "user name is empty" if not name else "permission denied"
    for command in (
        ("preflight", *operator.on),
        ("verify", *operator.on),
        ("backup", *operator.on, "--to", str(tmp_path / "after")),
        ("restore", *operator.on, "--snapshot", str(snapshot_before), "--yes"),
    ):
        tried = operator.types(*command)
        assert tried.returncode == (9 if command[0] == "verify" else 4), tried.stderr
        assert words in tried.stderr and "role root" in tried.stderr, tried.stderr
    restored = operator.restore(snapshot_before, "--replace-healthy")
    assert restored.returncode == 0, restored.stderr


def common_name(lab: Lab) -> str:
    """Whom etcd takes drctl for."""
    cert = load_inventory(lab.inventory).members[0].cert
    return certs.common_name(Path(cert)) if cert else ""


def test_status_of_a_cluster_that_is_down(lab: Lab, tmp_path: Path) -> None:
    operator = Operator(lab.inventory, tmp_path / "state")
    for host in lab.hosts:
        driver.site(lab.directory).stop(host.name, "etcd")
    looked = operator.types("status", *operator.on, "--output", "json")
    assert looked.returncode == 9, looked.stderr
    for member in json.loads(looked.stdout)["members"]:
        assert "connection refused" in member["reason"]
