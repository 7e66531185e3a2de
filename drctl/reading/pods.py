"""Static pods, as their manifests have them (Kubernetes' Pod, v1). Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from drctl.answer import shown
from drctl.errors import InvalidInput
from drctl.yamlfile import parse_yaml

Mounts = tuple[tuple[str, str], ...]
"""(path inside, path on the host), deepest first."""


@dataclass(frozen=True)
class Pod:
    """One container of a manifest that runs `program`. `user` is uid:gid, "" where the manifest
    says nothing; `environment` has ETCD_* only."""

    path: str
    name: str
    program: str
    image: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    mounts: Mounts
    user: str
    host_network: bool


def read_pods(
    manifests: Mapping[str, str], programs: tuple[str, ...]
) -> tuple[list[Pod], list[str]]:
    """The pods that run one of `programs`, and what could not be read, in words."""
    found: list[Pod] = []
    unread: list[str] = []
    for path, text in manifests.items():
        try:
            found += _pods(path, parse_yaml(text, path), programs)
        except InvalidInput as error:
            fault = str(error.faults[0].message) if error.faults else error.message
            unread.append(f"{shown(path)} is no manifest that can be read: {shown(fault, 120)}")
    return found, unread


def _pods(path: str, document: dict[str, Any], programs: tuple[str, ...]) -> Iterator[Pod]:
    spec = _mapping(document.get("spec"))
    volumes = {
        str(volume.get("name")): str(_mapping(volume.get("hostPath")).get("path", ""))
        for volume in _mappings(spec.get("volumes"))
    }
    for container in _mappings(spec.get("containers")):
        argv = [*_texts(container.get("command")), *_texts(container.get("args"))]
        program = _program(argv, str(container.get("name")), str(container.get("image")), programs)
        if not program:
            continue
        mounts = (
            (str(mount.get("mountPath", "")).rstrip("/"), volumes.get(str(mount.get("name")), ""))
            for mount in _mappings(container.get("volumeMounts"))
        )
        yield Pod(
            path=path,
            name=str(_mapping(document.get("metadata")).get("name", "")),
            program=program,
            image=str(container.get("image", "")),
            argv=tuple(argv),
            environment={
                str(each.get("name")): str(each.get("value", ""))
                for each in _mappings(container.get("env"))
                if str(each.get("name", "")).startswith("ETCD_")
            },
            mounts=tuple(
                sorted(((i, o) for i, o in mounts if i and o), key=lambda pair: -len(pair[0]))
            ),
            user=_user(
                _mapping(spec.get("securityContext")), _mapping(container.get("securityContext"))
            ),
            host_network=spec.get("hostNetwork") is True,
        )


def _program(argv: list[str], name: str, image: str, programs: tuple[str, ...]) -> str:
    """Which program a container runs: what its command names, else by its name or its image."""
    words = [part for word in argv for part in word.split()]
    for word in words:
        if word.rpartition("/")[2] in programs:
            return word.rpartition("/")[2]
    base = image.rpartition("/")[2].partition(":")[0].partition("@")[0]
    return next((program for program in programs if program in (name, base)), "")


def _user(pod: Mapping[str, Any], container: Mapping[str, Any]) -> str:
    both = {**pod, **container}
    user, group = both.get("runAsUser"), both.get("runAsGroup")
    if not isinstance(user, int):
        return ""
    return f"{user}:{group if isinstance(group, int) else 0}"


def outside(path: str, mounts: Mounts) -> str:
    """A path inside the container, as the host calls it; "" where no hostPath holds it."""
    for inside, host in mounts:
        if path == inside or path.startswith(f"{inside}/"):
            return f"{host.rstrip('/')}{path[len(inside) :]}" or "/"
    return ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _texts(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []
