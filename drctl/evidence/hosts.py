"""The hosts of a run as the plan names them and as they answered: roles, addresses, versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from drctl.answer import AnswerError, parse
from drctl.journal.runstate import Event

_VERSION = "_version"


def topology(plan: Mapping[str, Any], events: Sequence[Event]) -> list[dict[str, Any]]:
    """One row a host, in the plan's order."""
    facts, meaning = plan.get("facts", {}), plan.get("meaning", {})
    members, services = facts.get("members", {}), facts.get("services", {})
    told = versions(events)
    return [
        {
            "host": host,
            "address": meaning.get(f"hosts.{host}.address", ""),
            "member": members.get(host, {}).get("name", ""),
            "peer_urls": members.get(host, {}).get("peer_urls", []),
            "client_urls": members.get(host, {}).get("client_urls", []),
            "data_dir": members.get(host, {}).get("data_dir", ""),
            "wal_dir": members.get(host, {}).get("wal_dir") or "",
            "services": [name for name, each in services.items() if host in each["hosts"]],
            "versions": told.get(host, {}),
        }
        for host in plan.get("work_dirs", {})
    ]


def versions(events: Sequence[Event]) -> dict[str, dict[str, str]]:
    """host -> {program: version}, as the host itself answered last."""
    found: dict[str, dict[str, str]] = {}
    for event in events:
        answer = event.body.get("answer") if event.kind == "result" else None
        if not answer:
            continue
        try:
            report = parse(answer, event.body["host"])
        except AnswerError:
            continue
        for name in report:
            if name.endswith(_VERSION) and (value := report.text(name)):
                told = found.setdefault(event.body["host"], {})
                told[name.removesuffix(_VERSION)] = value
    return found
