"""What is wrong, or odd, about an inventory whose every value looks right by itself.

Each check yields (path in the file, message). All of them run, whatever the others find.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from drctl.inventory import check_etcd, check_hosts, check_prepare, check_services
from drctl.inventory.subject import Check, Complaint, Subject
from drctl.yamlfile import KeyPath

_FAULTS = check_hosts.FAULTS + check_etcd.FAULTS + check_services.FAULTS + check_prepare.FAULTS
_WARNINGS = check_etcd.WARNINGS + check_services.WARNINGS


def find_faults(subject: Subject) -> Iterator[Complaint]:
    """Everything that makes the inventory unusable."""
    yield from _run(_FAULTS, subject)


def find_warnings(subject: Subject) -> Iterator[Complaint]:
    """What is allowed, and should still be said."""
    yield from _run(_WARNINGS, subject)


def _run(checks: Iterable[Check], subject: Subject) -> Iterator[Complaint]:
    """Of one check, the first finding at each key: a default for all hosts is one error."""
    for check in checks:
        found: dict[KeyPath, str] = {}
        for path, message in check(subject):
            found.setdefault(path, message)
        yield from found.items()
