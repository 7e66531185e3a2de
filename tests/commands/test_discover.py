"""`drctl inventory discover` over hosts that are not there: who is found, asked and left out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drctl.answer import AnswerError
from drctl.commands.discover import Wanted, discover
from drctl.discovery.inventories import Discovered
from drctl.discovery.told import Machine, Told
from drctl.errors import InvalidInput, Refused
from drctl.inventory import Inventory, load_inventory
from drctl.runs.controller import Controller
from drctl.transport import CommandResult, Script
from tests.support.fake_transport import FakeTransport
from tests.support.readings import answer, process, unit

ADDRESSES = ("10.0.0.1", "10.0.0.2", "10.0.0.3")


def url(address: str, port: int = 2380) -> str:
    return f"http://{address}:{port}"


@dataclass
class Site:
    """Hosts by address, each with an etcd; what each names is its own affair."""

    flags: Mapping[str, Sequence[str]] = field(
        default_factory=lambda: dict.fromkeys(ADDRESSES, ADDRESSES)
    )
    listed: Sequence[str] | None = ADDRESSES  # None: its etcd does not answer
    quorum: bool = True
    garbled: frozenset[str] = frozenset()
    peer_of: Mapping[str, str] = field(default_factory=dict)
    unstarted: str = ""
    apiserver: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)

    def discover(self, *hosts: str, agree: bool = True) -> Discovered:
        transport = FakeTransport(handlers={"node/discover": self.look, "etcd/members": self.tell})
        controller = Controller(
            state_dir=Path("/nonexistent"),
            ask=lambda *_: None,
            confirm=lambda _: False,
            connect=lambda _: transport,
            parallel=1,
        )
        template = Machine(name="", source="", user=Told("ops", "--user"))
        given = [
            Machine(name=host, source="--host", address=Told(host, "--host"), user=template.user)
            for host in hosts or ADDRESSES[:1]
        ]
        found = discover(controller, Wanted(tuple(given), template, agree=lambda _: agree))
        self.asked = transport.calls
        return found

    def look(self, host: str, script: Script, env: Mapping[str, str]) -> str:
        if host in self.garbled:
            return "p.1.comm=etcd\n"
        cluster = ",".join(f"m{at[-1]}={url(at)}" for at in self.flags.get(host, ()))
        argv = [
            "/opt/etcd/etcd",
            f"--name=m{host[-1]}",
            "--data-dir=/var/lib/etcd",
            f"--initial-advertise-peer-urls={url(host)}",
            f"--advertise-client-urls={url(host, 2379)}",
            f"--initial-cluster={cluster}",
        ]
        apiserver = [
            "/usr/local/bin/kube-apiserver",
            f"--etcd-servers={','.join(url(at, 2379) for at in ADDRESSES)}",
            "--kubelet-client-certificate=/srv/pki/client.pem",
            "--kubelet-client-key=/srv/pki/client-key.pem",
        ]
        cgroup = "0::/system.slice/kube-apiserver.service"
        return answer(
            process(812, argv, db="/var/lib/etcd/member/snap/db"),
            process(900, apiserver, cgroup=cgroup) if self.apiserver else {},
            {"hostname": f"node-{host[-1]}"},
            units=[unit("etcd.service", " ".join(argv))],
        )

    def tell(self, host: str, script: Script, env: Mapping[str, str]) -> CommandResult | str:
        assert env["DRCTL_RUN"] and "/opt/etcd/etcdctl" in script.body and host in script.body
        if self.listed is None:
            return "status_json=\nstatus_said=context deadline exceeded\n"
        header = {"cluster_id": 7, "member_id": 1, "raft_term": 2}
        status = {"header": {**header, "revision": 5}, "version": "3.5.16", "leader": 1}
        members = [
            {
                "ID": int(at[-1]),
                "name": "" if at == self.unstarted else f"m{at[-1]}",
                "peerURLs": [url(self.peer_of.get(at, at))],
                "clientURLs": [url(at, 2379)],
            }
            for at in self.listed
        ]
        told = [{"Endpoint": url(host, 2379), "Status": status}]
        name = "members_json" if self.quorum else "local_json"
        listed = json.dumps({"header": header, "members": members})
        return f"status_json={json.dumps(told)}\n{name}={listed}\n"


def loaded(found: Discovered, tmp_path: Path) -> Inventory:
    path = tmp_path / "found.yaml"
    path.write_text(found.text)
    return load_inventory(path)


def refused(found: Discovered, tmp_path: Path) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        loaded(found, tmp_path)
    return [str(fault).partition("found.yaml:")[2] for fault in caught.value.faults]


def questions(found: Discovered) -> str:
    return "\n".join(f"{at}: {question}" for at, question in found.questions)


def test_one_host_is_enough(tmp_path: Path) -> None:
    found = Site().discover()
    inventory = loaded(found, tmp_path)
    assert [m.host for m in inventory.members] == ["node-1", "node-2", "node-3"]
    assert "member list" not in questions(found) and "such member" not in questions(found)


def test_a_member_that_no_flag_names_is_found_by_asking_etcd(tmp_path: Path) -> None:
    site = Site(flags={address: [address] for address in ADDRESSES})
    found = site.discover()
    assert [m.host for m in loaded(found, tmp_path).members] == ["node-1", "node-2", "node-3"]
    assert "address: 10.0.0.3  # member list, asked of the etcd on 10.0.0.1" in found.text


@pytest.mark.parametrize("agree", [True, False])
def test_one_that_was_removed_is_no_member(agree: bool, tmp_path: Path) -> None:
    found = Site(listed=ADDRESSES[:2]).discover(*ADDRESSES[:2], agree=agree)
    assert [m.host for m in loaded(found, tmp_path).members] == ["node-1", "node-2"]
    assert "names m3 at http://10.0.0.3:2380, and the living cluster has no such" in questions(
        found
    )


def test_without_a_quorum_nobody_is_left_out(tmp_path: Path) -> None:
    """A member that is cut off may not know the others any more, or not yet."""
    site = Site(listed=ADDRESSES[:1], quorum=False)
    assert len(loaded(site.discover(), tmp_path).members) == 3


def test_an_etcd_that_does_not_answer_is_said(tmp_path: Path) -> None:
    found = Site(listed=None).discover()
    assert len(loaded(found, tmp_path).members) == 3
    assert (
        "groups.etcd: no etcd told who belongs to the cluster (10.0.0.1: context deadline "
        "exceeded): compare with etcdctl member list"
    ) in questions(found)


def test_a_peer_url_that_was_changed_in_the_cluster_only() -> None:
    site = Site(peer_of={"10.0.0.2": "10.0.9.2"})
    asked = questions(site.discover(*ADDRESSES))
    assert "the living cluster has it at http://10.0.9.2:2380, its own flags say" in asked


def test_whoever_is_not_asked_is_a_question_with_its_line(tmp_path: Path) -> None:
    found = Site().discover(agree=False)
    faults = refused(found, tmp_path)
    lines = found.text.splitlines()
    assert not [line for line in lines if line.startswith("  client_url:")]
    for fault in faults:
        line = int(fault.partition(":")[0])
        assert lines[line - 1].strip().endswith('"?"'), fault
        assert "open question: " in fault and "write the answer in place of the '?'" in fault
    assert any("which address has it for SSH?" in fault for fault in faults)
    assert any("which is its --data-dir?" in fault for fault in faults)
    answered = found.text.replace('data_dir: "?"', "data_dir: /var/lib/etcd")
    for host in ADDRESSES[1:]:
        answered = answered.replace('address: "?"', f"address: {host}", 1)
    path = tmp_path / "answered.yaml"
    path.write_text(answered)
    inventory = load_inventory(path)
    assert len(inventory.members) == 3
    left = [w for w in inventory.warnings if "open question: " in w]
    assert left and all("remove the comment once it is answered" in w for w in left)


def test_a_member_that_never_started_is_a_question(tmp_path: Path) -> None:
    site = Site(
        flags=dict.fromkeys(ADDRESSES[:2], ADDRESSES[:2]), unstarted="10.0.0.3", garbled=frozenset()
    )
    found = site.discover(*ADDRESSES[:2], agree=False)
    assert any("never started" in fault for fault in refused(found, tmp_path))


def test_hosts_that_answer_nonsense_are_no_bug() -> None:
    with pytest.raises(Refused, match="is missing") as caught:
        Site(garbled=frozenset(ADDRESSES)).discover()
    assert caught.value.host == "10.0.0.1"
    assert not isinstance(caught.value, AnswerError)


def test_one_that_answers_nonsense_is_reached_and_asked_about(tmp_path: Path) -> None:
    found = Site(garbled=frozenset(("10.0.0.2",))).discover()
    assert "address: 10.0.0.2  # SSH answers there" in found.text
    (fault,) = [each for each in refused(found, tmp_path) if "data_dir" in each]
    assert "which is its --data-dir?" in fault


def test_controllers_that_are_not_seen_beside_an_apiserver_are_a_question(tmp_path: Path) -> None:
    """They may be stopped just now, or parked by a run: nothing would stop them in a restore."""
    site = Site(apiserver=True)
    found = site.discover(*ADDRESSES)
    (fault,) = refused(found, tmp_path)
    assert "services.controllers: open question: no kube-controller-manager or" in fault


def test_the_apiservers_certificate_is_the_one_that_it_has() -> None:
    """Not the one that the layout supposes."""
    found = Site(apiserver=True).discover(*ADDRESSES)
    assert "--cert /srv/pki/client.pem --key /srv/pki/client-key.pem https://" in found.text
