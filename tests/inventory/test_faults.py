"""Every mistake an inventory can have, with the exact line, path and words."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drctl.errors import InvalidInput
from drctl.inventory import Inventory, load_inventory
from tests.inventory.conftest import GOOD, Faults, Write

SSL = "{ca: /ca.pem, cert: /cert.pem, key: /key.pem}"
COMMANDS = "commands: {start: a, stop: b, running: c, fence: d, unfence: e, fenced: f}\n"

CHANGED = [
    # one line of the good inventory replaced -> all faults that follow
    ("cluster: prod", "cluster: 'pr od'",
     [("1: cluster: 'pr od' is not a valid name (allowed: letters, digits, '.', '_' and '-'; at "
     "most 63)")]),
    ("cluster: prod", "clustr: prod",
     ["1: cluster: the key 'cluster' is missing",
      "1: clustr: unknown key 'clustr', did you mean 'cluster'?"]),
    ("layout: kubeasz", "layout: kubesprey",
     ["2: layout: must be 'kubeasz', 'kubeadm', 'kubespray' or 'none', not 'kubesprey', did you "
      "mean 'kubespray'?"]),
    ("layout: kubeasz", "layout: none",
     ["1: etcd.tls: certificate paths are missing: https needs tls: {ca, cert, key}, "
      "absolute paths on the nodes"]),
    ("{user: ops}", "{user: -oProxyCommand=x}",
     ["3: defaults.user: must not begin with '-': '-oProxyCommand=x'"]),
    ("{user: ops}", '{user: "o\\nps"}',
     [("3: defaults.user: 'o\\nps' is not a valid user name (allowed: letters, digits, '.', '_' "
     "and '-')")]),
    ("{user: ops}", "{user: 1000}",
     ["3: defaults.user: must be text, not 1000: put it in quotes"]),
    ("{user: ops}", "{port: 0}", ["3: defaults.port: must be at least 1, not 0"]),
    ("{user: ops}", "{port: true}", ["3: defaults.port: must be a whole number, not true"]),
    ("{user: ops}", "{become: su}",
     ["3: defaults.become: must be 'none' or 'sudo', not 'su', did you mean 'sudo'?"]),
    ("{user: ops}", "{key: -i}", ["3: defaults.key: must not begin with '-': '-i'"]),
    ("{user: ops}", "{key: ~eve/id}",
     ["3: defaults.key: '~eve/id': of '~', only your own home '~/' is supported"]),
    ("{user: ops}", "{jump: 'a,b'}",
     ["3: defaults.jump: only one jump host; for a chain, give that host its own 'jump'"]),
    ("{user: ops}", "{jump: ops@m1}",
     ["3: defaults.jump: 'm1' is a host in this file: write just its name"]),
    ("{user: ops}", "{jump: 'b:99999'}", ["3: defaults.jump: 99999 is not a port"]),
    ("{user: ops}", "{work_dir: lib/drctl}",
     ["3: defaults.work_dir: must be an absolute path on the node, not 'lib/drctl'"]),
    ("{user: ops}", "{work_dir: /}", ["3: defaults.work_dir: work_dir must not be '/'"]),
    ("{user: ops}", "{work_dir: /var/lib/etcd/drctl}",
     ["3: defaults.work_dir: on m1: work_dir /var/lib/etcd/drctl and data_dir /var/lib/etcd "
      "overlap"]),
    ("{user: ops}", "{work_dir: /var/lib/etcd.drctl}",
     ["3: defaults.work_dir: on m1: work_dir /var/lib/etcd.drctl and data_dir /var/lib/etcd "
      "overlap"]),
    ("{user: ops}", "{work_dir: /var}",
     ["3: defaults.work_dir: on m1: work_dir /var and data_dir /var/lib/etcd overlap"]),
    ("{user: ops}", "{work_dir: '/x/{unit}'}",
     ["3: defaults.work_dir: unknown placeholder {unit}; known here: {host} and {address}"]),
    ("m1: {address: 10.0.0.11}", "m1: {adress: 10.0.0.11}",
     ["5: hosts.m1.adress: unknown key 'adress', did you mean 'address'?"]),
    ("m1: {address: 10.0.0.11}", "m1: {address: -l}",
     ["5: hosts.m1.address: must not begin with '-': '-l'"]),
    ("m1: {address: 10.0.0.11}", "m1: {address: 10.0.0.11:22}",
     ["5: hosts.m1.address: '10.0.0.11:22' is not an IPv6 address; the port goes under 'port'"]),
    ("m1: {address: 10.0.0.11}", "m1: {address: 10.0.0.311}",
     ["5: hosts.m1.address: '10.0.0.311' is not an IPv4 address"]),
    ("m1: {address: 10.0.0.11}", "m1: {address: \"a'b\"}",
     ["5: hosts.m1.address: \"a'b\" is not a valid host name or address (allowed: letters, "
      "digits, '.', '_' and '-')"]),
    ("m1: {address: 10.0.0.11}", "m1: text",
     ["5: hosts.m1: must be a mapping, not 'text'"]),
    ("m2: {address: 10.0.0.12}", "m2: {address: 10.0.0.12, jump: m2}",
     ["6: hosts.m2.jump: jump hosts form a loop: m2 -> m2"]),
    ("m3: {address: 10.0.0.13}", "m3: {address: 10.0.0.13}\n  m3: {}",
     ["8: hosts.m3: duplicate key 'm3', first given on line 7"]),
    ("w1: {address: 10.0.0.21}", "w1: {address: 10.0.0.13, port: 22}",
     ["8: hosts.w1: same address and port as host 'm3': 10.0.0.13"]),
    ("w1: {address: 10.0.0.21}", "w1: {}\n  w2: {}",
     ["9: hosts.w2: host is in no group: add it to one, or remove it"]),
    ("w1: {address: 10.0.0.21}", "w1: {jump: w2}\n  w2: {jump: w3}\n  w3: {jump: w1}",
     ["8: hosts.w1.jump: jump hosts form a loop: w1 -> w2 -> w3 -> w1"]),
    ("w1: {address: 10.0.0.21}", "w1: {}\n  -x: {}",
     ["9: hosts.-x: must not begin with '-': '-x'"]),
    ("w1: {address: 10.0.0.21}", "w1: {}\n  workers: {}",
     ["9: hosts.workers: host is in no group: add it to one, or remove it",
      "13: groups.workers: 'workers' is also the name of a host: rename one of them"]),
    ("workers: [w1]", "workers: [w1, w2]", ["12: groups.workers[1]: unknown host 'w2'"]),
    ("workers: [w1]", "workers: [w1, w1]",
     ["12: groups.workers[1]: host 'w1' is in group 'workers' twice"]),
    ("workers: [w1]", "workers: [w1]\n  all: [w1]",
     ["13: groups.all: 'all' always means every host: choose another group name"]),
    ("workers: [w1]", "workers: 5", ["12: groups.workers: must be a list, not 5"]),
    ("  control_plane: [m1, m2, m3]\n", "",
     ["2: layout: layout kubeasz needs the group 'control_plane'; for etcd without Kubernetes use "
      "layout: none"]),
    ("  etcd: [m1, m2, m3]\n", "",
     ["9: groups.etcd: no etcd hosts: the group 'etcd' is missing or empty"]),
    ("  etcd: [m1, m2, m3]\n", "  etcd: []\n",
     ["10: groups.etcd: no etcd hosts: the group 'etcd' is missing or empty"]),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), CHANGED)
def test_a_changed_line(faults: Faults, old: str, new: str, expected: list[str]) -> None:
    assert old in GOOD
    assert faults(GOOD.replace(old, new, 1)) == expected


ETCD = [
    # one line under `etcd:` (line 14) -> all faults that follow
    ("data_dir: var/lib/etcd",
     ["14: etcd.data_dir: must be an absolute path on the node, not 'var/lib/etcd'"]),
    ("data_dir: /", ["14: etcd.data_dir: the data directory must not be '/'"]),
    ("data_dir: '/var lib'",
     ["14: etcd.data_dir: '/var lib' is not a valid path (allowed: letters, digits, '.', '_' and "
      "'-', '/', '+', '=' and '@')"]),
    ("data_dir: -x", ["14: etcd.data_dir: must not begin with '-': '-x'"]),
    ("data_dir: /var/../etc", ["14: etcd.data_dir: must not contain '..': '/var/../etc'"]),
    ("data_dir: '/{hots}'",
     ["14: etcd.data_dir: unknown placeholder {hots}; known here: {host} and {address}"]),
    ("data_dir: '/{0}'",
     ["14: etcd.data_dir: '/{0}' is not a valid path (allowed: letters, digits, '.', '_' and '-', "
      "'/', '+', '=' and '@')"]),
    ("wal_dir: /var/lib/etcd/wal",
     ["14: etcd.wal_dir: on m1: the WAL directory /var/lib/etcd/wal is inside the data directory "
      "/var/lib/etcd: a restore moves both aside, so they must be separate"]),
    ("wal_dir: /var/lib/etcd//",
     ["14: etcd.wal_dir: on m1: the WAL directory /var/lib/etcd is inside the data directory "
      "/var/lib/etcd: a restore moves both aside, so they must be separate"]),
    ("wal_dir: /var/lib/etcd/member/wal",
     ["14: etcd.wal_dir: on m1: /var/lib/etcd/member/wal is etcd's default WAL directory: leave "
      "wal_dir out"]),
    ("wal_dir: /var/lib",
     ["3: defaults.work_dir: on m1: work_dir /var/lib/drctl and wal_dir /var/lib overlap",
      "14: etcd.wal_dir: on m1: the data directory /var/lib/etcd is inside the WAL directory "
      "/var/lib"]),
    ("owner: 'etcd etcd'",
     ["14: etcd.owner: 'etcd etcd' is not a valid owner; write it as user or user:group"]),
    ("peer_url: 10.0.0.1:2380",
     ["14: etcd.peer_url: must begin with https:// (or http://), not '10.0.0.1:2380'"]),
    ("peer_url: 'https://{address}'",
     ["14: etcd.peer_url: must be https://host:port with nothing after it, not 'https://a'"]),
    ("peer_url: 'https://{address}:2380/'",
     ["14: etcd.peer_url: must be https://host:port with nothing after it, "
      "not 'https://a:2380/'"]),
    ("peer_url: 'https://{address}:70000'", ["14: etcd.peer_url: 70000 is not a port"]),
    ("peer_url: 'https://{addr}:2380'",
     ["14: etcd.peer_url: unknown placeholder {addr}; known here: {host} and {address}"]),
    ("client_url: 'https://{address}:2380'",
     ["14: etcd.client_url: m1 has the same peer and client URL: https://10.0.0.11:2380"]),
    ("peer_url: 'https://etcd:2380'",
     ["14: etcd.peer_url: m2 and m1 have the same peer URL: https://etcd:2380"]),
    ("client_url: 'https://etcd:2379'",
     ["14: etcd.client_url: m2 and m1 have the same client URL: https://etcd:2379"]),
    ("member_name: node", ["14: etcd.member_name: m2 and m1 have the same name: node"]),
    ("member_name: 'a=b'", ["14: etcd.member_name: 'a=b' is not a valid member name"]),
    ("tls: {ca: /ca.pem, key: /key.pem}", ["14: etcd.tls.cert: the key 'cert' is missing"]),
    ("tls: {ca: ca.pem, cert: /c, key: /k}",
     ["14: etcd.tls.ca: must be an absolute path on the node, not 'ca.pem'"]),
    ("members: {m9: {name: x}}", ["14: etcd.members.m9: 'm9' is not in the group 'etcd'"]),
    ("members: {m2: {name: etcd-10.0.0.11}}",
     ["14: etcd.members.m2.name: m2 and m1 have the same name: etcd-10.0.0.11"]),
    ("members: {m2: {peer_urls: ['https://10.0.0.11:2380']}}",
     ["14: etcd.members.m2.peer_urls: m2 and m1 have the same peer URL: "
      "https://10.0.0.11:2380"]),
    ("members: {m2: {client_urls: ['https://h:1', 'https://h:1']}}",
     ["14: etcd.members.m2: the URL https://h:1 is given twice"]),
    ("members: {m2: {client_urls: [h]}}",
     ["14: etcd.members.m2.client_urls[0]: must begin with https:// (or http://), not 'h'"]),
    ("members: {m2: {data_dir: /}}",
     ["14: etcd.members.m2.data_dir: the data directory must not be '/'"]),
    ("members: {m2: {wal_dir: /var/lib/etcd}}",
     ["14: etcd.members.m2.wal_dir: on m2: the WAL directory /var/lib/etcd is inside the data "
      "directory /var/lib/etcd: a restore moves both aside, so they must be separate"]),
]  # fmt: skip


@pytest.mark.parametrize(("line", "expected"), ETCD)
def test_etcd(faults: Faults, line: str, expected: list[str]) -> None:
    assert faults(f"{GOOD}etcd:\n  {line}\n") == expected


def test_a_data_directory_in_the_default_work_dir_is_named_with_both(faults: Faults) -> None:
    (fault,) = faults(f"{GOOD}etcd:\n  data_dir: /var/lib/drctl/etcd\n")
    assert fault == (
        "3: defaults.work_dir: on m1: work_dir /var/lib/drctl and data_dir /var/lib/drctl/etcd "
        "overlap"
    )


SERVICES = [
    # lines from line 13 on -> all faults that follow
    ("services: {x: {hosts: worker, units: u}}",
     ["13: services.x.hosts[0]: unknown group or host 'worker', did you mean 'workers'?"]),
    ("services:\n  x:\n    hosts:\n    - m1\n    - m9\n    units: u",
     ["17: services.x.hosts[1]: unknown group or host 'm9'"]),
    ("services: {x: {units: u}}",
     ["13: services.x: lists no hosts; if there is no such service, write null"]),
    ("services: {x: {hosts: m1}}", ["13: services.x: lists no units"]),
    ("services: {x: {hosts: m1, units: '-u'}}",
     ["13: services.x.units: must not begin with '-': '-u'"]),
    ("services: {x: {hosts: m1, units: 'a b'}}",
     ["13: services.x.units: 'a b' is not a valid unit name (allowed: letters, digits, '.', '_' "
      "and '-', '@' and ':')"]),
    ("services: {apiserver: {ready: 'curl {url}'}}",
     ["13: services.apiserver.ready: unknown placeholder {url}; known here: {host} and "
      "{address}"]),
    ("services: {apiserver: {ready: ' '}}", ["13: services.apiserver.ready: must not be empty"]),
    ("services: {apiserver: {ports: [66443]}}",
     ["13: services.apiserver.ports[0]: must be at most 65535, not 66443"]),
    ("services: {etcd: {start: one-by-one}}",
     ["13: services.etcd.start: etcd members must start together: one alone never gets a quorum"]),
    ("services: {etcd: {hosts: [m1, m2]}}",
     ["13: services.etcd: must run on exactly the hosts of the group 'etcd'"]),
    ("services: {etcd: null}",
     ["13: services.etcd: must run on exactly the hosts of the group 'etcd'"]),
    ("services: {kubelet: {manager: command}}",
     ["13: services.kubelet.manager: manager 'command' needs the section 'commands'"]),
    ("service_manager: command",
     ["13: service_manager: manager 'command' needs the section 'commands'"]),
    ("service_manager: command\ncommands: {start: a, stop: b, running: c}",
     ["14: commands.fence: the key 'fence' is missing",
      "14: commands.unfence: the key 'unfence' is missing",
      "14: commands.fenced: the key 'fenced' is missing"]),
    (COMMANDS.replace("a,", "'sv {units}',"),
     ["13: commands.start: unknown placeholder {units}; known here: {unit} and {host}"]),
    ("options: {settle_seconds: -1}",
     ["13: options.settle_seconds: must be at least 0, not -1"]),
    ("'[key]': 5", ["13: [key]: unknown key '[key]'"]),
    ("options: 5", ["13: options: must be a mapping, not 5"]),
    ("known_hosts: 'a b'",
     ["13: known_hosts: 'a b' is not a valid path (allowed: letters, digits, '.', '_' and '-', "
      "'/', '+', '=' and '@', '~')"]),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "expected"), SERVICES)
def test_services_and_the_rest(faults: Faults, lines: str, expected: list[str]) -> None:
    assert faults(f"{GOOD}{lines}\n") == expected


KUBEADM = [
    # lines after the good inventory's, with layout: kubeadm -> all faults that follow
    ("etcd: {tools: docker}",
     ["13: etcd.tools: must be 'host' or 'image', not 'docker'"]),
    ("etcd: {image: '-x'}", ["13: etcd.image: must not begin with '-': '-x'"]),
    ("etcd: {image: 'a b'}", ["13: etcd.image: 'a b' is not a valid image name"]),
    ("etcd: {etcdutl: ./no/such}", ["13: etcd.etcdutl: no such file on this machine: ./no/such"]),
    ("etcd: {etcdutl: .}", ["13: etcd.etcdutl: no such file on this machine: ."]),
    ("services: {etcd: {manager: systemd}}",
     ["2: layout: tools come from etcd's image, but etcd is not a static pod, so no manifest "
      "names that image: set etcd.image, or 'tools: host'"]),
    ("etcd: {tools: image}\nservices: {etcd: {manager: systemd}}",
     ["13: etcd.tools: tools come from etcd's image, but etcd is not a static pod, so no manifest "
      "names that image: set etcd.image, or 'tools: host'"]),
    ("kubernetes: {key: null}",
     ["13: kubernetes: ca, cert and key are needed together; missing: key"]),
    ("kubernetes: {url: 'https://{address}:6443/'}",
     ["13: kubernetes.url: must be https://host:port with nothing after it, not "
      "'https://a:6443/'"]),
    ("kubernetes: {manifests: etc}",
     ["13: kubernetes.manifests: must be an absolute path on the node, not 'etc'"]),
    ("kubernetes: {manifests: /var/lib/drctl/x}",
     ["13: kubernetes.manifests: on m1: work_dir /var/lib/drctl and the manifest directory "
      "/var/lib/drctl/x overlap: the kubelet would run the manifests parked there"]),
    ("kubernetes: {manifests: /var}",
     ["13: kubernetes.manifests: on m1: work_dir /var/lib/drctl and the manifest directory /var "
      "overlap: the kubelet would run the manifests parked there"]),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "expected"), KUBEADM)
def test_static_pods_and_tools(faults: Faults, lines: str, expected: list[str]) -> None:
    assert faults(f"{GOOD.replace('kubeasz', 'kubeadm')}{lines}\n") == expected


MANY = """\
cluster: prod
layout: kubeasz
defaults: {user: -oProxyCommand=x}
hosts:
  m1: {adress: 10.0.0.11}
  m2: {address: "10.0.0.12 x"}
  m3: {address: 10.0.0.13}
  m3: {}
  lost:
groups:
  etcd: [m1, m2, m4]
  control_plane: m3
etcd:
  peer_url: https://{addres}:2380
  wal_dir: /var/lib/etcd/wal
  tls: {ca: /a}
services:
  x: {hosts: worker, units: u, manager: command}
"""


def test_everything_wrong_comes_out_at_once(faults: Faults) -> None:
    found = [fault.split(" ")[:2] for fault in faults(MANY)]
    assert found == [
        ["3:", "defaults.user:"],
        ["5:", "hosts.m1.adress:"],
        ["6:", "hosts.m2.address:"],
        ["8:", "hosts.m3:"],
        ["9:", "hosts.lost:"],
        ["11:", "groups.etcd[2]:"],
        ["14:", "etcd.peer_url:"],
        ["15:", "etcd.wal_dir:"],
        ["16:", "etcd.tls.cert:"],
        ["16:", "etcd.tls.key:"],
        ["18:", "services.x.hosts[0]:"],
        ["18:", "services.x.manager:"],
    ]


@pytest.mark.parametrize("missing", ["hosts", "groups"])
def test_a_missing_section_is_one_mistake(write: Write, missing: str) -> None:
    data = yaml.safe_load(GOOD)
    del data[missing]
    with pytest.raises(InvalidInput) as caught:
        load_inventory(write(yaml.safe_dump(data)))
    assert [fault.path for fault in caught.value.faults] == [missing]


def test_the_message_counts_and_the_hint_says_what_to_type(write: Write) -> None:
    path = write(MANY)
    with pytest.raises(InvalidInput, match="invalid inventory: 12 errors") as caught:
        load_inventory(path)
    assert caught.value.hint == f"fix it, then check it: drctl inventory validate {path}"
    assert caught.value.exit_code == 3


# --- junk ---------------------------------------------------------------------------------------

WORDS = ["", "m1", "etcd", "all", "-x", "{host}", "{", "https://{address}:1", "/", "~", "none",
         "kubeasz", "systemd", "command", "root", "a@b:1", "[::1]:2", "::1", "\u2028",
         "x" * 300]  # fmt: skip
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.sampled_from(WORDS)
)
KEYS = st.one_of(
    st.text(),
    st.sampled_from(
        ["cluster", "layout", "hosts", "groups", "etcd", "services", "defaults", "commands", "m1",
         "members", "tls", "jump", "address", "name", "units", "manager", "wal_dir", "options"]
    ),
)  # fmt: skip
JUNK = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4)
)
FULL: dict[str, Any] = {
    **yaml.safe_load(GOOD),
    "etcd": {
        "data_dir": "/d/{host}",
        "wal_dir": "/w",
        "tls": yaml.safe_load(SSL),
        "members": {"m2": {"name": "x", "peer_urls": ["https://h:1"], "wal_dir": None}},
    },
    "services": {"x": {"hosts": "all", "units": ["u"], "ready": "true {host}"}, "kubelet": None},
    "service_manager": "command",
    **yaml.safe_load(COMMANDS),
    "known_hosts": "./k",
}


def _places(data: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = data.items() if isinstance(data, dict) else enumerate(data)
    found = []
    for key, value in inner:
        found.append((*here, key))
        if isinstance(value, dict | list):
            found += _places(value, (*here, key))
    return found


def _loads_or_is_refused(folder: Path, data: Any) -> None:
    path = folder / "junk.yaml"
    path.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8", errors="replace")
    try:
        inventory = load_inventory(path)
    except InvalidInput as error:
        assert all(fault.line > 0 for fault in error.faults)
        return
    assert isinstance(inventory, Inventory)
    assert inventory.members
    assert inventory.meaning()


quick = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
    max_examples=200,
)


@quick
@given(st.dictionaries(KEYS, JUNK, max_size=6))
def test_junk_is_refused_in_words(tmp_path: Path, data: dict[str, Any]) -> None:
    _loads_or_is_refused(tmp_path, data)


def test_the_inventory_that_is_broken_below_is_whole(write: Write) -> None:
    assert load_inventory(write(yaml.safe_dump(FULL))).services["kubelet"].absent


@quick
@given(st.lists(st.tuples(st.sampled_from(_places(FULL)), JUNK), min_size=1, max_size=3))
def test_junk_anywhere_is_refused_in_words(
    tmp_path: Path, changes: list[tuple[tuple[Any, ...], Any]]
) -> None:
    data = copy.deepcopy(FULL)
    for place, junk in changes:
        target: Any = data
        for part in place[:-1]:
            target = target.get(part) if isinstance(target, dict) else None
        if isinstance(target, dict):
            target[place[-1]] = junk
    _loads_or_is_refused(tmp_path, data)
