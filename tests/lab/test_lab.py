"""A whole lab: hosts that can be reached, services that behave as units do."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest

from drctl.errors import Refused, UsageError
from drctl.inventory import load_inventory
from drctl.lab import data, probe
from drctl.lab.gateway import Gateway, GatewayError
from drctl.lab.layout import Lab, LabHost
from drctl.lab.local import build, driver
from drctl.lab.waiting import until
from tests.support.labs import quiet, ssh

pytestmark = pytest.mark.lab


def control(host: LabHost, verb: str) -> tuple[int, str]:
    told = subprocess.run(
        build.control(host, verb, "etcd"), capture_output=True, text=True, timeout=60
    )
    return told.returncode, told.stdout.strip()


def answers(host: LabHost) -> bool:
    try:
        with data.gateway(host) as gateway:
            return gateway.revision() > 0
    except GatewayError:
        return False


def test_three_members_answer_over_mutual_tls(lab: Lab) -> None:
    for host in lab.hosts:
        with data.gateway(host) as gateway:
            listed = gateway.call("/v3/cluster/member/list", {})["members"]
        assert sorted(m["name"] for m in listed) == [h.member_name for h in lab.hosts]
    bare = ssl.create_default_context(cafile=lab.hosts[0].ca)
    with (
        pytest.raises(OSError),
        urllib.request.urlopen(f"{lab.hosts[0].client_url}/health", context=bare, timeout=5),
    ):
        pass


def test_data_is_there_and_every_page_is_read(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drctl.lab.gateway.PAGE", 100)
    with data.gateway(lab.hosts[1]) as gateway:
        content = gateway.read_all(data.PREFIX)
    values = [value for key, value in content.items() if key.startswith("/registry/configmaps/")]
    assert len(values) == 300 and {len(value) for value in values} == {64}
    assert json.loads(content[data.NAMESPACE_KEY])["metadata"]["uid"]


def test_status_is_the_documented_document_and_its_paths_exist(lab: Lab) -> None:
    told = driver.status(lab.directory)
    assert set(told) == {"nodes", "etcd", "known_hosts"}
    keys = {"name", "ssh_host", "ssh_port", "services", "data_dir", "wal_dir"}
    assert all(set(node) == keys for node in told["nodes"])
    etcd = told["etcd"]
    patient = ["--command-timeout", "60s", "--endpoints", ",".join(etcd["endpoints"])]
    argv = [etcd["etcdctl"], *patient, "endpoint", "health"]
    tls = ["--cacert", etcd["cacert"], "--cert", etcd["cert"], "--key", etcd["key"]]
    subprocess.run([*argv, *tls], check=True, capture_output=True, timeout=90)


def test_inventory_is_one_that_the_product_reads(lab: Lab) -> None:
    inventory = load_inventory(lab.inventory)
    assert [member.name for member in inventory.members] == [h.member_name for h in lab.hosts]
    assert inventory.warnings == ()
    ready = inventory.services["apiserver"].ready["node-2"]
    assert ready
    probed = partial(subprocess.run, ready, shell=True, capture_output=True)
    until(lambda: probed().returncode == 0, 60, "the inventory's probe")


def test_ssh_runs_commands_and_tells_their_status(any_ssh: Lab) -> None:
    for host in any_ssh.hosts:
        told = ssh(any_ssh, host.name, "echo out; echo err >&2; echo $HOME; exit 7")
        assert told.returncode == 7
        assert told.stdout.decode().split() == ["out", str(host.home)]
        assert told.stderr == b"err\n"


def test_ssh_carries_bytes_unchanged(any_ssh: Lab) -> None:
    given = os.urandom(3_000_000)
    assert ssh(any_ssh, "node-1", "cat", given).stdout == given
    assert (
        ssh(any_ssh, "node-1", "sha256sum", given).stdout.split()[0].decode()
        == sha256(given).hexdigest()
    )


def test_ssh_refuses_another_hosts_key(any_ssh: Lab, tmp_path: Path) -> None:
    swapped = tmp_path / "known_hosts"
    one, two, *_ = any_ssh.known_hosts.read_text().splitlines()
    swapped.write_text(f"{one.split()[0]} {two.split(maxsplit=1)[1]}\n")
    argv = driver.ssh_argv(any_ssh.directory, "node-1")
    argv = [part.replace(str(any_ssh.known_hosts), str(swapped)) for part in argv]
    told = subprocess.run([*argv, "true"], capture_output=True, timeout=30)
    assert told.returncode == 255


def test_a_command_outlives_its_connection(any_ssh: Lab) -> None:
    home = any_ssh.hosts[0].home
    argv = driver.ssh_argv(any_ssh.directory, "node-1")
    client = subprocess.Popen(
        [*argv, "touch $HOME/begun; setsid sh -c 'sleep 1; touch $HOME/done'"]
    )
    until((home / "begun").exists, 60, "the command")
    client.kill()
    client.wait()
    until((home / "done").exists, 60, "the command's end")


def test_a_killed_etcd_comes_back_unless_it_is_fenced(lab: Lab) -> None:
    host = lab.hosts[0]
    first = int(control(host, "pid")[1])
    os.kill(first, signal.SIGKILL)
    until(lambda: answers(host), 60, "etcd")
    second = int(control(host, "pid")[1])
    assert second != first
    commands = load_inventory(lab.inventory).services["etcd"].commands
    assert commands is not None

    def verb(name: str) -> int:
        text = getattr(commands, name).format(host=host.name, unit="etcd")
        return subprocess.run(text, shell=True, capture_output=True, timeout=60).returncode

    assert verb("fenced") != 0 and verb("fence") == 0 and verb("fenced") == 0
    os.kill(second, signal.SIGKILL)
    time.sleep(2.5)  # longer than the pause between two starts
    assert verb("running") != 0
    assert verb("start") != 0 and verb("running") != 0
    assert control(host, "start")[0] == 0  # past the inventory's command: still fenced
    time.sleep(1.5)
    assert verb("running") != 0
    assert verb("unfence") == 0 and verb("start") == 0
    until(lambda: answers(host), 60, "etcd")
    assert verb("running") == 0


def test_the_stand_in_serves_reads_writes_and_wants_a_certificate(lab: Lab) -> None:
    host = lab.hosts[2]
    base = f"https://{host.address}:6443"
    key = "/registry/test/stand-in"
    probe.fetch(
        f"{base}/put?key={key}",
        str(host.ca),
        cert=str(host.cert),
        key=str(host.key),
        method="PUT",
        body=b"one",
    )
    until(lambda: data.stand_in_value(host, key) == b"one", 60, "the watch")
    assert data.stand_in_value(host, "/registry/none") is None
    assert data.ask_stand_in(host, "/count?prefix=/registry/configmaps/")["count"] == 300
    with pytest.raises(urllib.error.HTTPError, match="401"):
        probe.fetch(f"{base}/get?key={key}", str(host.ca))


def test_up_refuses_a_lab_that_runs_and_a_folder_that_is_no_lab(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="already up"):
        driver.up(lab.directory, say=quiet)
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(Refused, match="no lab in"):
        driver.up(tmp_path, say=quiet)
    with pytest.raises(Refused, match="no lab in"):
        driver.down(tmp_path, quiet)
    with pytest.raises(UsageError, match="no host"):
        driver.ssh_argv(lab.directory, "node-9")


def test_a_gateway_that_nobody_answers_says_where(lab: Lab) -> None:
    host = lab.hosts[0]
    with (
        Gateway(f"https://{host.address}:1", host.ca, host.cert, host.key) as gateway,
        pytest.raises(GatewayError, match=f"{host.address}:1"),
    ):
        gateway.revision()
