"""etcd/reach and node/place on this machine: real names, ports, certificates and filesystems."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from drctl.answer import Answer, parse
from drctl.etcd.certificates import chain_of, public_fault
from drctl.lab.certs import Authority
from drctl.render import render
from tests.templates.node import HOST, Node
from tests.templates.shells import Shell, needed

ADDRESS = "127.0.83.9"


@pytest.fixture
def door() -> Iterator[socket.socket]:
    """It hangs up on whoever comes: that is an answer, too."""
    with socket.create_server((ADDRESS, 2380)) as server:

        def hang_up() -> None:
            with contextlib.suppress(OSError):
                while True:
                    server.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        yield server


def seen(node: Node) -> Answer:
    for tool in ("openssl", "getent", "timeout"):
        if not (node.shell.bin / tool).exists():
            (node.shell.bin / tool).symlink_to(needed(tool))
    task = node.plan.step("facts").tasks[HOST]
    assert task.observe
    ran = node.shell.stdin(task.observe.body, node.env(task, {}))
    assert ran.status == 0, ran
    return parse(ran.out)


def test_a_door_that_is_open_and_one_that_is_not(
    shell: Shell, tmp_path: Path, door: socket.socket
) -> None:
    assert seen(Node(tmp_path / "a", shell, address=ADDRESS))[f"peer.{HOST}.0"] == "open"
    door.shutdown(socket.SHUT_RDWR)
    door.close()
    assert seen(Node(tmp_path / "b", shell, address=ADDRESS))[f"peer.{HOST}.0"] == "refused"


def test_a_name_that_is_known_and_one_that_is_not(shell: Shell, tmp_path: Path) -> None:
    node = Node(tmp_path / "n", shell)
    text = node.file.read_text()
    node.file.write_text(
        text.replace("//{address}:2380", "//localhost:2380").replace(
            "//{address}:2379", "//nowhere.invalid:2379"
        )
    )
    found = seen(node)
    assert {"127.0.0.1", "::1"} & {*found["name.localhost"].split()}
    assert found["name.nowhere.invalid"] in ("", "silent")


def test_certificates_leave_and_keys_do_not(shell: Shell, tmp_path: Path) -> None:
    pki = tmp_path / "pki"
    pki.mkdir()
    authority = Authority.new()
    pair, peer = authority.issue("etcd"), authority.issue("peer")
    for name, content in (
        ("ca", authority.pair.cert),
        ("cert", b"text before it\n" + pair.cert),
        ("key", pair.key),
        ("peer.crt", peer.cert),
        ("peer.key", pair.key),
    ):
        (pki / name).write_bytes(content)
    tls = f"tls: {{ca: {pki}/ca, cert: {pki}/cert, key: {pki}/key}}"
    found = seen(Node(tmp_path / "n", shell, tls=tls))
    (cert,) = chain_of(found.pieces("cert.client"))
    assert public_fault(cert, *found.pieces("key.client")) == ""
    (other,) = chain_of(found.pieces("cert.peer"))
    assert public_fault(other, *found.pieces("key.peer")) == "is not the key of the certificate"
    assert "cert.server" not in found
    secret = "".join(pair.key.decode().splitlines()[1:-1])
    assert secret[40:80] not in "".join(found.values())


def test_without_its_tools_nothing_is_claimed(dash: Shell, tmp_path: Path) -> None:
    reach = render(
        "etcd/reach.sh",
        reach={
            "names": {"localhost": {}},
            "peers": {"a.0": {"at": "127.0.0.1:1", "tls": True}},
        },
        member={"cert": None},
    )
    for tool in ("awk", "cat"):
        (dash.bin / tool).symlink_to(needed(tool))
    dash.path = str(dash.bin)
    assert dash.stdin(reach, {}).fields == {"name.localhost": "untried", "peer.a.0": "untried"}


def test_places(shell: Shell) -> None:
    script = f"{render('node/place.sh')}\nplace a /proc/self\nplace b /dev/shm/not/there\n"
    found = shell.stdin(script, {}).fields
    assert found["place.a"].split()[0] == "proc"
    assert "noexec" in found["place.a"] or "noexec" not in _options("/proc")
    assert found["place.b"].split()[0] == "tmpfs"
    assert found["writable.b"] == "yes" and int(found["inodes.b"].split()[0]) > 0


def _options(point: str) -> list[str]:
    lines = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return [line[3] for line in lines if line[1] == point][-1].split(",")
