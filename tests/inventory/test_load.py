"""What a good inventory resolves to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from drctl.errors import InvalidInput
from drctl.inventory import inventory_schema, load_inventory, split_jump
from tests.inventory.conftest import GOOD, Write

ROOT = Path(__file__).parents[2]
TLS = "etcd: {tls: {ca: /pki/ca.crt, cert: '/pki/{host}.crt', key: '/pki/{host}.key'}}\n"
NO_KUBERNETES = "services: {apiserver: null, controllers: null, kubelet: null}\n"


def test_the_example_is_complete() -> None:
    inventory = load_inventory(ROOT / "inventory.example.yaml")
    assert inventory.warnings == ()
    assert [member.name for member in inventory.members] == [
        "etcd-10.0.0.11",
        "etcd-10.0.0.12",
        "etcd-10.0.0.13",
    ]
    assert inventory.hosts["worker-1"].cluster_address == "192.168.5.21"
    assert inventory.hosts["worker-2"].address == "worker-2"


def test_everything_the_example_offers_in_comments_is_valid(write: Write, tmp_path: Path) -> None:
    (tmp_path / "etcdutl").touch()
    text = (ROOT / "inventory.example.yaml").read_text()
    text = text.replace("\n  dependents: null", "")
    option = re.compile(
        r"^( *)# (?!kubeasz:|kubeadm:|kubespray:|none:)( *(?:[a-z_]+|etcd-2):(?: |$).*)",
        re.MULTILINE,
    )
    inventory = load_inventory(write(option.sub(r"\1\2", text)))
    assert inventory.members[1].name == "etcd2"
    assert inventory.members[0].wal_dir == "/var/lib/etcd-wal"
    assert inventory.services["dependents"].units == ("etcd-backup.timer",)


def test_a_short_kubeasz_inventory_says_everything(write: Write) -> None:
    inventory = load_inventory(write(GOOD))
    member, host = inventory.members[0], inventory.hosts["m1"]
    assert (host.address, host.user, host.port, host.key) == ("10.0.0.11", "ops", None, None)
    assert (host.become, host.work_dir, host.jump) == ("sudo", "/var/lib/drctl", None)
    assert member.host == "m1"
    assert member.name == "etcd-10.0.0.11"
    assert member.peer_urls == ("https://10.0.0.11:2380",)
    assert member.client_urls == ("https://10.0.0.11:2379",)
    assert (member.data_dir, member.wal_dir, member.owner) == ("/var/lib/etcd", None, None)
    assert (member.ca, member.cert, member.key) == (
        "/etc/kubernetes/ssl/ca.pem",
        "/etc/kubernetes/ssl/kubernetes.pem",
        "/etc/kubernetes/ssl/kubernetes-key.pem",
    )
    assert (member.bin_dir, member.tools.source) == ("/usr/local/bin", "host")
    assert inventory.warnings == ()


def test_a_short_kubespray_inventory_says_everything(write: Write) -> None:
    text = GOOD.replace("kubeasz", "kubespray") + "service_manager: systemd\n"
    inventory = load_inventory(write(text))
    member, services = inventory.members[1], inventory.services
    assert [one.name for one in inventory.members] == ["etcd1", "etcd2", "etcd3"]
    assert (member.bin_dir, member.data_dir) == ("/usr/local/bin", "/var/lib/etcd")
    assert (member.ca, member.cert, member.key) == (
        "/etc/ssl/etcd/ssl/ca.pem",
        "/etc/ssl/etcd/ssl/admin-m2.pem",
        "/etc/ssl/etcd/ssl/admin-m2-key.pem",
    )
    assert member.tools.source == "host"
    kubernetes = inventory.kubernetes["m2"]
    assert kubernetes.manifests == "/etc/kubernetes/manifests"
    assert (kubernetes.ca, kubernetes.cert) == (
        "/etc/kubernetes/ssl/ca.crt",
        "/etc/kubernetes/ssl/apiserver-kubelet-client.crt",
    )
    assert {name: service.manager for name, service in services.items()} == {
        "etcd": "systemd",
        "apiserver": "static-pod",
        "controllers": "static-pod",
        "kubelet": "systemd",
        "dependents": "systemd",
    }
    assert services["etcd"].units == ("etcd",)
    ready = str(services["apiserver"].ready["m2"])
    assert "--cert /etc/kubernetes/ssl/apiserver-kubelet-client.crt" in ready


def test_a_members_name_may_be_its_place_in_the_group(write: Write) -> None:
    names = "etcd: {member_name: 'infra{number}', members: {m2: {name: 'two-{number}'}}}\n"
    inventory = load_inventory(write(GOOD + names))
    assert [one.name for one in inventory.members] == ["infra1", "two-2", "infra3"]


def test_the_kubeasz_services(write: Write) -> None:
    services = load_inventory(write(GOOD)).services
    assert {name: service.units for name, service in services.items()} == {
        "etcd": ("etcd",),
        "apiserver": ("kube-apiserver",),
        "controllers": ("kube-controller-manager", "kube-scheduler"),
        "kubelet": ("kubelet", "kube-proxy"),
        "dependents": (),
    }
    assert services["kubelet"].hosts == ("m1", "m2", "m3", "w1")
    assert services["dependents"].absent
    assert services["etcd"].ports == (2379, 2380)
    assert services["apiserver"].start == "first-alone"
    assert "https://10.0.0.12:6443/readyz" in str(services["apiserver"].ready["m2"])


def test_a_short_kubeadm_inventory_says_everything(write: Write) -> None:
    inventory = load_inventory(write(GOOD.replace("kubeasz", "kubeadm")))
    member, services = inventory.members[0], inventory.services
    assert (member.name, member.data_dir) == ("m1", "/var/lib/etcd")
    assert (member.ca, member.cert) == (
        "/etc/kubernetes/pki/etcd/ca.crt",
        "/etc/kubernetes/pki/etcd/healthcheck-client.crt",
    )
    tools = member.tools
    assert (tools.source, tools.etcdutl_source, tools.image) == ("image", "image", None)
    assert member.certificate_folders == ("/etc/kubernetes/pki/etcd",)
    kubernetes = inventory.kubernetes["m2"]
    assert kubernetes.manifests == "/etc/kubernetes/manifests"
    assert (kubernetes.url, kubernetes.ca) == (
        "https://10.0.0.12:6443",
        "/etc/kubernetes/pki/ca.crt",
    )
    assert kubernetes.key == "/etc/kubernetes/pki/apiserver-kubelet-client.key"
    assert {name: service.manager for name, service in services.items()} == {
        "etcd": "static-pod",
        "apiserver": "static-pod",
        "controllers": "static-pod",
        "kubelet": "systemd",
        "dependents": "systemd",
    }
    assert services["kubelet"].units == ("kubelet",)
    assert "https://10.0.0.12:6443/readyz" in str(services["apiserver"].ready["m2"])


def test_where_the_tools_come_from(write: Write, tmp_path: Path) -> None:
    (tmp_path / "etcdutl").touch()
    text = GOOD.replace("kubeasz", "kubeadm") + "etcd: {image: a.b/etcd:1, etcdutl: ./etcdutl}\n"
    tools = load_inventory(write(text)).members[0].tools
    assert (tools.source, tools.etcdutl_source) == ("image", "upload")
    assert (tools.image, tools.upload) == ("a.b/etcd:1", tmp_path / "etcdutl")


def test_a_service_keeps_what_the_file_does_not_say(write: Write) -> None:
    text = f"{GOOD}services: {{apiserver: {{ports: [8443], ready: null}}, kubelet: null}}\n"
    services = load_inventory(write(text)).services
    assert services["apiserver"].units == ("kube-apiserver",)
    assert services["apiserver"].ports == (8443,)
    assert services["apiserver"].ready == {"m1": None, "m2": None, "m3": None}
    assert services["kubelet"].absent


def test_etcd_listens_where_its_urls_say(write: Write) -> None:
    text = f"{GOOD}etcd: {{client_url: 'https://{{address}}:4001'}}\n"
    assert load_inventory(write(text)).services["etcd"].ports == (2380, 4001)


def test_layout_none_takes_names_from_the_hosts(write: Write) -> None:
    inventory = load_inventory(write(GOOD.replace("kubeasz", "none") + TLS + NO_KUBERNETES))
    assert [member.name for member in inventory.members] == ["m1", "m2", "m3"]
    assert inventory.members[1].cert == "/pki/m2.crt"
    assert inventory.warnings == ()


def test_plain_http_needs_no_certificates(write: Write) -> None:
    urls = "etcd: {peer_url: 'http://{address}:2380', client_url: 'http://{address}:2379'}\n"
    inventory = load_inventory(write(GOOD.replace("kubeasz", "none") + urls + NO_KUBERNETES))
    assert inventory.members[0].ca is None


def test_overrides_of_one_member(write: Write) -> None:
    text = (
        f"{GOOD}etcd:\n  wal_dir: /wal\n  members:\n    m2: {{name: two, data_dir: '/d/{{host}}', "
        "wal_dir: null, client_urls: ['https://a:1', 'https://b:1']}\n    m3:\n"
    )
    _, second, third = load_inventory(write(text)).members
    assert (second.name, second.data_dir, second.wal_dir) == ("two", "/d/m2", None)
    assert second.client_urls == ("https://a:1", "https://b:1")
    assert second.peer_urls == ("https://10.0.0.12:2380",)
    assert (third.data_dir, third.wal_dir) == ("/var/lib/etcd", "/wal")


def test_ipv6_addresses_get_their_brackets(write: Write) -> None:
    text = GOOD.replace("10.0.0.11", "fd00::11")
    assert load_inventory(write(text)).members[0].peer_urls == ("https://[fd00::11]:2380",)


def test_how_hosts_are_reached(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    text = GOOD.replace(
        "{user: ops}", "{user: ops, port: 2222, key: ~/id, jump: w1, work_dir: '/srv/{host}'}"
    )
    text = text.replace("m2: {", "m2: {user: root, key: keys/m2, jump: null, ")
    path = write(text + "known_hosts: ./known\n")
    inventory = load_inventory(path)
    first, second, jump = (inventory.hosts[name] for name in ("m1", "m2", "w1"))
    assert (first.jump, first.port, first.key) == ("w1", 2222, Path("/home/me/id"))
    assert first.work_dir == "/srv/m1"
    assert (second.user, second.become, second.jump) == ("root", "none", None)
    assert second.key == path.parent / "keys/m2"
    assert jump.jump is None, "the default jump host is not reached through itself"
    assert inventory.known_hosts == path.parent / "known"


def test_a_jump_host_may_be_in_no_group_and_is_not_in_all(write: Write) -> None:
    text = GOOD.replace("{user: ops}", "{jump: b}").replace("groups:", "  b: {}\ngroups:")
    inventory = load_inventory(write(text))
    assert inventory.host_group("all") == ("m1", "m2", "m3", "w1")
    assert inventory.host_group("b") == ("b",)


def test_host_groups_are_ordered_and_each_host_comes_once(write: Write) -> None:
    inventory = load_inventory(write(GOOD))
    assert inventory.host_group(["workers", "m3", "etcd"]) == ("w1", "m3", "m1", "m2")
    assert inventory.host_group([]) == ()
    with pytest.raises(InvalidInput, match=r"no group or host 'worker', did you mean 'workers'\?"):
        inventory.host_group(["worker"])


def test_names_nobody_declared(write: Write) -> None:
    inventory = load_inventory(write(GOOD))
    assert inventory.service("etcd") is inventory.services["etcd"]
    assert inventory.member("m2").host == "m2"
    with pytest.raises(InvalidInput, match="no service 'kublet', did you mean 'kubelet'"):
        inventory.service("kublet")
    with pytest.raises(InvalidInput, match="no etcd member 'w1'"):
        inventory.member("w1")


def test_commands_are_filled_and_other_braces_left_alone(write: Write) -> None:
    text = (
        f"{GOOD}service_manager: command\ncommands: {{start: 'sv -c /x/{{host}} up {{unit}}', "
        "stop: 'awk ''{print $1}'' ${HOME}', running: c, fence: d, unfence: e, fenced: f}\n"
    )
    service = load_inventory(write(text)).service("etcd")
    assert service.manager == "command"
    assert service.commands is not None
    filled = service.commands.fill(unit="etcd", host="m1")
    assert filled["start"] == "sv -c /x/m1 up etcd"
    assert filled["stop"] == "awk '{print $1}' ${HOME}"
    assert set(filled) == {"start", "stop", "running", "fence", "unfence", "fenced"}


def test_warnings_have_a_line_too(write: Write) -> None:
    even = write(GOOD.replace("etcd: [m1, m2, m3]", "etcd: [m1, m2]"))
    assert load_inventory(even).warnings == (
        f"{even}:10: groups.etcd: 2 etcd members tolerate no more failures than 1: "
        "an odd number is usual",
    )
    silent = write(GOOD.replace("kubeasz", "none") + TLS + "services: {kubelet: null}\n")
    (warning,) = load_inventory(silent).warnings
    assert (
        f"{silent}:14: services: not declared, so drctl will neither stop nor start them: "
        in warning
    )
    assert "apiserver, controllers;" in warning


def test_meaning_names_what_drifted(write: Write) -> None:
    before = load_inventory(write(GOOD))
    moved = load_inventory(write(f"{GOOD}etcd: {{members: {{m2: {{data_dir: /data}}}}}}\n"))
    old, new = before.meaning(), moved.meaning()
    assert {key: (old[key], new[key]) for key in old if old[key] != new[key]} == {
        "members.m2.data_dir": ("/var/lib/etcd", "/data")
    }


def test_how_one_logs_in_is_no_drift(write: Write) -> None:
    before = load_inventory(write(GOOD))
    other = load_inventory(write(GOOD.replace("ops", "admin")))
    assert before.meaning() == other.meaning()


def test_an_inventory_is_frozen(write: Write) -> None:
    with pytest.raises(ValidationError):
        load_inventory(write(GOOD)).cluster = "other"  # type: ignore[misc]  # the point of it


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("bastion", (None, "bastion", None)),
        ("ops@bastion", ("ops", "bastion", None)),
        ("ops@10.0.0.1:2222", ("ops", "10.0.0.1", 2222)),
        ("fd00::1", (None, "fd00::1", None)),
        ("ops@[fd00::1]:22", ("ops", "fd00::1", 22)),
    ],
)
def test_jumps_are_taken_apart(text: str, parts: tuple[str | None, str, int | None]) -> None:
    assert split_jump(text) == parts


# --- schema -------------------------------------------------------------------------------------


def _properties(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for section in [schema, *schema["$defs"].values()]:
        yield from section["properties"].items()


def test_every_field_in_the_schema_is_described() -> None:
    schema = inventory_schema()
    assert schema["$schema"].endswith("2020-12/schema")
    assert schema["additionalProperties"] is False
    undescribed = [name for name, field in _properties(schema) if not field.get("description")]
    assert undescribed == []


def test_the_schema_s_patterns_accept_the_defaults() -> None:
    fields = [field for _, field in _properties(inventory_schema()) if "pattern" in field]
    defaults = [(field["pattern"], field["default"]) for field in fields if field.get("default")]
    assert len(defaults) >= 5
    assert all(re.search(pattern, default) for pattern, default in defaults)


def test_the_schema_allows_what_the_loader_allows() -> None:
    schema = inventory_schema()
    (host,) = schema["properties"]["hosts"]["patternProperties"].values()
    assert {"type": "null"} in host["anyOf"], "`worker-1:` with nothing after it"
    (group,) = schema["properties"]["groups"]["patternProperties"].values()
    assert {option["type"] for option in group["anyOf"]} == {"string", "array"}
