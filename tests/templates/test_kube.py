"""kube/settings and kube/secrets on a node."""

from __future__ import annotations

import hashlib
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from drctl.answer import parse
from drctl.inventory import load_inventory
from drctl.plan.planner import host_context
from drctl.render import render
from tests.templates.shells import Shell

INVENTORY = """
cluster: t
layout: none
defaults: {{user: u, become: none, work_dir: {root}/work}}
hosts: {{m1: {{address: 127.0.83.9}}}}
groups: {{etcd: [m1], control_plane: [m1]}}
etcd: {{peer_url: "http://{{address}}:2380", client_url: "{scheme}://{{address}}:2379"{tls}}}
services:
  apiserver: {{hosts: control_plane, units: [kube-apiserver], manager: {manager}, ready: "{ready}"}}
  controllers: {{hosts: control_plane, units: [kube-controller-manager.service]}}
  kubelet: null
commands: {{start: a, stop: b, running: c, fence: d, unfence: e, fenced: f}}
kubernetes: {{manifests: {root}/manifests{kubernetes}}}
"""
FLAGS = (
    "--etcd-servers=https://10.0.0.1:2379,https://10.0.0.2:2379",
    "--etcd-prefix=/r",
    "--etcd-cafile={root}/ca.crt",
    "--encryption-provider-config={root}/enc.yaml",
    "--service-account-key-file={root}/sa.pub",
    "--service-account-signing-key-file={root}/sa.key",
)
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAAAA\nBBBB\n-----END CERTIFICATE-----\n"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Place:
    """A control plane's files."""

    def __init__(self, root: Path, shell: Shell) -> None:
        self.root, self.shell = root, shell
        for folder in ("work", "manifests"):
            (root / folder).mkdir(parents=True)
        (root / "ca.crt").write_text(f"a comment\n{CERTIFICATE}{CERTIFICATE.replace('A', 'C')}")
        for name in ("enc.yaml", "sa.pub", "sa.key"):
            (root / name).write_text(f"secret {name}")

    @property
    def flags(self) -> list[str]:
        return [flag.format(root=self.root) for flag in FLAGS]

    def script(self, template: str, manager: str, **more: str) -> str:
        given = {
            "root": self.root,
            "manager": manager,
            "scheme": "http",
            "tls": "",
            "kubernetes": "",
            "ready": "true",
        }
        file = self.root / "inventory.yaml"
        file.write_text(INVENTORY.format(**{**given, **more}))
        return render(f"{template}.sh", **host_context(load_inventory(file), "m1"))

    def gather(self, template: str, manager: str = "systemd", **more: str) -> dict[str, str]:
        env = {"DRCTL_RUN": "r", "DRCTL_WORK": f"{self.root}/work", "DRCTL_HOST": "m1"}
        ran = self.shell.stdin(self.script(template, manager, **more), env)
        assert ran.status == 0, ran
        assert "secret" not in ran.out.replace("secrets_", "")
        return dict(parse(ran.out))

    def systemctl(self, line: str) -> None:
        stub = self.shell.bin / "systemctl"
        stub.write_text(
            "#!/bin/sh\ncase $* in *ExecStart*kube-apiserver*) "
            f"echo 'ExecStart={{ path=/x ; argv[]={line} ; ignore_errors=no ; pid=0 }}' ;; esac\n"
        )
        stub.chmod(0o755)

    def expect(self, found: dict[str, str], source: str) -> None:
        assert found["apiserver_from"] == source
        assert found["etcd_servers"] == "https://10.0.0.1:2379,https://10.0.0.2:2379"
        assert (found["etcd_prefix"], found["etcd_overrides"]) == ("/r", "")
        assert set(found["etcd_ca"].split()) == {digest("AAAABBBB"), digest("CCCCBBBB")}
        assert found["encryption"] == digest("secret enc.yaml")
        assert found["account_keys"] == digest("secret sa.pub")
        assert found["account_signing"] == digest("secret sa.key")


@pytest.fixture
def place(shell: Shell, tmp_path: Path) -> Place:
    return Place(tmp_path / "n", shell)


def test_as_a_unit_has_them(place: Place) -> None:
    place.systemctl(f"/usr/local/bin/kube-apiserver --v=1 {' '.join(place.flags)}")
    place.expect(place.gather("kube/settings"), "written")


@pytest.mark.parametrize("folder", ["manifests", "work/parked/kube-apiserver"])
def test_as_a_manifest_has_them(place: Place, folder: str) -> None:
    target = place.root / folder / "kube-apiserver.yaml"
    target.parent.mkdir(parents=True, exist_ok=True)
    flags = "".join(f"    - {flag}\n" for flag in place.flags)
    target.write_text(
        "metadata:\n  name: kube-apiserver\nspec:\n  containers:\n  - command:\n"
        f"    - kube-apiserver\n{flags}    image: x\n"
    )
    place.expect(place.gather("kube/settings", "static-pod"), "written")


@pytest.mark.parametrize(
    ("ready", "said"), [("exit 0", "answers"), ("exit 7", "silent"), ("exec sleep 9", "silent")]
)
def test_whether_an_apiserver_answers_and_how_old_the_kubelet_is(
    place: Place, ready: str, said: str
) -> None:
    """One that hangs is not waited for."""
    sleep = shutil.which("sleep", path="/usr/bin:/bin")
    assert sleep
    name = f"kubelet-{secrets.token_hex(3)}"
    shutil.copy(sleep, place.root / name)
    script = place.script("kube/settings", "static-pod", ready=ready)
    script = script.replace("processes kubelet)", f"processes {name})")
    kubelet = subprocess.Popen([str(place.root / name), "60"])
    try:
        time.sleep(1.2)
        found = parse(place.shell.stdin(script, {"DRCTL_WORK": f"{place.root}/work"}, 8).out)
    finally:
        kubelet.kill()
        kubelet.wait()
    assert found["apiserver"] == said
    assert 1 <= int(found["kubelet_age"]) < 60
    assert "apiserver" not in place.gather("kube/settings", "systemd", ready=ready)


@pytest.fixture
def running(place: Place) -> Iterator[Place]:
    """A process of that name with these arguments, the last of them in two words."""
    tail = shutil.which("tail", path="/usr/bin:/bin")
    assert tail
    program = place.root / "kube-apiserver"
    # A shell that waits stands in for the apiserver: it takes any arguments.
    shutil.copy(shutil.which("dash") or "/bin/sh", program)
    script = "while :; do sleep 1; done"
    *most, last = place.flags
    process = subprocess.Popen([str(program), "-c", script, "x", *most, *last.split("=", 1)])
    yield place
    process.kill()
    process.wait()


@pytest.mark.parametrize("manager", ["command", "systemd"])
def test_as_the_process_has_them(running: Place, manager: str) -> None:
    """Commands tell no flags, and a unit may have them in a variable."""
    running.systemctl("/usr/local/bin/kube-apiserver $KUBE_API_ARGS")
    running.expect(running.gather("kube/settings", manager), "running")


def test_no_apiserver_no_flags(place: Place) -> None:
    place.systemctl("")
    found = place.gather("kube/settings")
    assert found["etcd_servers"] == "" and "encryption" not in found


def test_defaults_and_what_cannot_be_read(place: Place) -> None:
    place.systemctl(
        "/x/kube-apiserver --etcd-servers http://10.0.0.1:2379 "
        f"--tls-private-key-file={place.root}/sa.key --encryption-provider-config={place.root}/no"
    )
    found = place.gather("kube/settings")
    assert found["account_keys"] == digest("secret sa.key")  # what the apiserver takes then
    assert (found["encryption"], found["account_signing"]) == ("unreadable", "")
    place.systemctl("/x/kube-apiserver --etcd-servers=http://10.0.0.1:2379")
    assert place.gather("kube/settings")["encryption"] == "none"


def test_the_members_authority(place: Place) -> None:
    place.systemctl("")
    ca = place.root / "ca.crt"
    tls = f", tls: {{ca: {ca}, cert: {ca}, key: {ca}}}"
    found = place.gather("kube/settings", scheme="https", tls=tls)
    assert set(found["member_ca"].split()) == {digest("AAAABBBB"), digest("CCCCBBBB")}
    assert "member_ca" not in place.gather("kube/settings")


ADMIN = ", ca: /p/ca, cert: /p/c, key: /p/k"


def curl(place: Place, answer: str, status: int = 0) -> None:
    stub = place.shell.bin / "curl"
    stub.write_text(
        f"#!/bin/sh\necho \"$*\" > '{place.root}/asked'\nprintf '%s' '{answer}'\nexit {status}\n"
    )
    stub.chmod(0o755)


def test_secrets_are_counted(place: Place) -> None:
    item = '{"metadata":{"name":"a","creationTimestamp":"2026"}}'
    curl(place, f'{{"metadata":{{}},"items":[{item},{item}]}}\n200')
    found = place.gather("kube/secrets", kubernetes=ADMIN)
    assert (found["secrets_status"], found["secrets_read"]) == ("200", "2")
    asked = (place.root / "asked").read_text()
    assert "PartialObjectMetadataList" in asked and "limit=500" in asked
    assert "--cacert /p/ca --cert /p/c --key /p/k" in asked
    assert "https://127.0.83.9:6443/api/v1/" in asked


@pytest.mark.parametrize(
    ("answer", "exit_status", "status", "said"),
    [
        ('{"kind":"Status","message":"Internal error: no matching key","reason":"x"}\n500', 0,
         "500", "Internal error: no matching key"),
        ("curl: (7) Failed to connect\n000", 7, "000", "curl: (7) Failed to connect 000"),
        ("", 127, "", ""),
    ],
)  # fmt: skip
def test_a_failure_is_told(
    place: Place, answer: str, exit_status: int, status: str, said: str
) -> None:
    curl(place, answer, exit_status)
    found = place.gather("kube/secrets", kubernetes=ADMIN)
    assert (found["secrets_status"], found["secrets_said"]) == (status, said)
    assert "secrets_read" not in found


def test_without_a_certificate_nothing_is_asked(place: Place) -> None:
    assert place.gather("kube/secrets") == {"secrets_status": "not asked"}
