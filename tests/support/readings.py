"""Answers of `node/reading`, as a node would give them."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping, Sequence

from drctl.inventory import Inventory, Member


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def kernel_address(address: str, port: int) -> str:
    """As /proc/net/tcp writes it on a little-endian machine."""
    packed = ipaddress.ip_address(address).packed
    words = (packed[at : at + 4][::-1].hex().upper() for at in range(0, len(packed), 4))
    return f"{''.join(words)}:{port:04X}"


def process(
    pid: int,
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cgroup: str = "0::/system.slice/etcd.service",
    db: str = "",
    wal: str = "",
    user: str = "0:0",
    exe: str = "",
    cwd: str = "/",
    network: str = "ours",
    mounts: str = "ours",
    listens: Sequence[tuple[str, int]] = (),
    config: str | None = None,
    manifests: str = "",
    parent_comm: str = "systemd",
) -> dict[str, str]:
    """The lines of one process."""
    comm = argv[0].rpartition("/")[2][:15]
    lines = {
        "comm": comm,
        "parent": "1",
        "parent_comm": parent_comm,
        "user": user,
        "network": network,
        "mounts": mounts,
        "listens": " ".join(kernel_address(*each) for each in listens),
        "exe": b64(f"{exe or argv[0]}\n"),
        "cwd": b64(f"{cwd}\n"),
        "argv": b64("".join(f"{word}\0" for word in argv)),
        "env": b64("".join(f"{name}={value}\n" for name, value in (env or {}).items())),
        "cgroup": b64(f"{cgroup}\n"),
    }
    lines |= {"db": b64(f"{db}\n")} if db else {}
    lines |= {"wal": b64(f"{wal}\n")} if wal else {}
    lines |= {"config": b64(config)} if config is not None else {}
    lines |= {"manifests": b64(f"{manifests}\n")} if manifests else {}
    return {f"p.{pid}.{name}": value for name, value in lines.items()}


def unit(name: str, command: str, **more: str) -> str:
    """A block of `systemctl show`."""
    shown = {
        "Id": name,
        "LoadState": "loaded",
        "ActiveState": "active",
        "MainPID": "812",
        "FragmentPath": f"/etc/systemd/system/{name}",
        "TimeoutStartUSec": "1min 30s",
        "NeedDaemonReload": "no",
        **more,
    }
    path = command.split()[0]
    run = f"ExecStart={{ path={path} ; argv[]={command} ; ignore_errors=no ; start_time=[n/a] }}"
    return "\n".join([*(f"{key}={value}" for key, value in shown.items()), run])


def answer(*parts: Mapping[str, str], units: Sequence[str] = (), **more: str) -> str:
    """What the node says."""
    lines = {key: value for part in parts for key, value in part.items()}
    lines["clients"] = more.pop("clients", "")
    if units:
        lines["units"] = b64("\n\n".join(units) + "\n")
    return "".join(f"{key}={value}\n" for key, value in {**lines, **more}.items())


def manifest(path: str, text: str, number: int = 1) -> dict[str, str]:
    return {f"m.{number}.path": b64(f"{path}\n"), f"m.{number}.text": b64(text)}


def flags_of(member: Member, data_dir: str | None = None) -> list[str]:
    """etcd's arguments, as the inventory has the member."""
    found = {
        "name": member.name,
        "data-dir": data_dir or member.data_dir,
        "listen-peer-urls": ",".join(member.peer_urls),
        "initial-advertise-peer-urls": ",".join(member.peer_urls),
        "listen-client-urls": ",".join(member.client_urls),
        "advertise-client-urls": ",".join(member.client_urls),
    }
    found |= {"wal-dir": member.wal_dir} if member.wal_dir else {}
    return [f"--{flag}={value}" for flag, value in found.items()]


def as_claimed(inventory: Inventory, host: str, *, runs: bool = True) -> str:
    """A host on which everything is as its inventory says."""
    found: dict[str, str] = {"data_here": "yes"}
    member = next((m for m in inventory.members if m.host == host), None)
    service = inventory.services["etcd"]
    if member is None:
        return answer()
    if service.manager == "static-pod":
        path = f"{inventory.kubernetes[host].manifests}/{service.units[0]}.yaml"
        found |= manifest(path, pod_text(flags_of(member), member.data_dir))
    if runs:
        cgroup = {
            "systemd": f"0::/system.slice/{service.units[0]}.service",
            "static-pod": f"0::/kubepods/pod{'a' * 32}/x",
        }.get(service.manager, "0::/")
        found |= process(
            812,
            [f"{member.bin_dir}/etcd", *flags_of(member)],
            cgroup=cgroup,
            db=f"{member.data_dir}/member/snap/db",
            mounts="other" if service.manager == "static-pod" else "ours",
        )
    return answer(found)


def pod_text(flags: Sequence[str], data_dir: str) -> str:
    """A manifest of etcd's static pod, as kubeadm writes it."""
    arguments = "".join(f"    - {flag}\n" for flag in flags)
    return (
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: etcd\nspec:\n  containers:\n"
        f"  - command:\n    - etcd\n{arguments}    image: registry/etcd:3.5.16-0\n    name: etcd\n"
        f"    volumeMounts:\n    - mountPath: {data_dir}\n      name: etcd-data\n"
        "  hostNetwork: true\n  volumes:\n  - hostPath:\n"
        f"      path: {data_dir}\n      type: DirectoryOrCreate\n    name: etcd-data\n"
    )
