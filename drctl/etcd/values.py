"""The values that judges hand on, by name: which shape each has, and for whom it is true.

A value of one host (`{host: value}`) is used for that host only. A value of all hosts stands in
`SHARED` with where it comes from: it is the short list of what is made from several hosts' answers,
or from the plan. Whatever reads values from outside this process (a node's manifest) holds them
against these shapes first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, with_config
from typing_extensions import TypedDict

LARGEST = (1 << 63) - 1
"""Revisions and sizes are int64 in etcd."""
MOST_LINES = 999_999_999
"""That a node's history has ever had."""


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds control characters")
    return text


Words = Annotated[str, StringConstraints(max_length=4096), AfterValidator(_printable)]
Revision = Annotated[int, Field(ge=0, le=LARGEST)]
HostName = Annotated[
    str, StringConstraints(max_length=253, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
]
Path = Annotated[str, StringConstraints(max_length=4096, pattern=r"^/"), AfterValidator(_printable)]
_ID = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{1,16}$")]
_NO_ID = Literal[""]
_TOKEN = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,300}$")]
_OWNER = Annotated[
    str, StringConstraints(max_length=130, pattern=r"^([A-Za-z0-9_.-]+(:[A-Za-z0-9_.-]+)?)?$")
]
_MODE = Annotated[str, StringConstraints(pattern=r"^[0-7]{3,4}$")]
_MARK = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9:. _-]{0,300}$")]
_DECIMAL = Annotated[str, StringConstraints(pattern=r"^[0-9]{0,19}$")]


@with_config(ConfigDict(strict=True, extra="forbid"))
class Lost(TypedDict, total=False):
    """What a rollback would throw away (`drctl.etcd.judges.losses`); None: not known."""

    revisions: Revision | None
    since: Words
    proven: Revision | None
    latest: Revision | None
    answered: Annotated[list[Revision], Field(max_length=2)]
    kinds: dict[Words, list[Revision]] | None
    deleted: Annotated[int, Field(ge=-LARGEST, le=LARGEST)] | None
    said: Annotated[list[Words], Field(max_length=20)]


PER_HOST: Mapping[str, Any] = {
    "stage": Path,
    "wal_stage": Path | Literal[""],
    "owner": _OWNER,
    "mode": _MODE,
    "machine_id": _MARK,
    "last_line": Annotated[int, Field(ge=0, le=MOST_LINES)],
    "kept": dict[Path, Revision],
}
"""Name -> shape of what a host reports, and true of that host alone."""

SHARED: Mapping[str, Any] = {
    # made by this program when the run began
    "token": _TOKEN,
    "cluster_id": _ID | _NO_ID,  # `drctl status` may find none
    "blank_token": _TOKEN,
    "blank_cluster_id": _ID,
    # made from several hosts' answers, each shown to the operator
    "can_bump": bool,  # every etcdutl can; one host's lie costs the bump, or fails in its restore
    "start_blank": Literal["yes", "no"],  # no host holds data; existing data is never replaced
    "quorum": bool,  # any member read through a leader, or most answer; blocks a restore
    "answering": Annotated[list[HostName], Field(max_length=1000)],  # who answered, each for itself
    "live_revision": Revision | None,  # the largest that any member told, if `bump.PLAUSIBLE`
    "live_cluster_id": _ID | _NO_ID,  # where all agree
    # above the largest revision that can have been served: each host's word if `bump.PLAUSIBLE`,
    # and it is said whose word decided
    "bump": _DECIMAL,
    "encryption": Words,  # where all apiservers agree: a digest, or a word for why there is none
    "proven_revision": Revision,  # where all members agree
    "common_revision": Revision,  # the smallest that any member told: hashes are compared there
    "would_be_lost": Lost,  # by the member that is furthest; counts for the question, no more
    "keep_restored": Literal["yes", "no"],  # by what the run began; no host's word
}
"""Name -> shape of what holds for all hosts."""

FOUND = frozenset({"machine_id", "last_line", "kept", "would_be_lost", "keep_restored"})
"""Which values every run finds on its nodes, whatever its runbook: nobody gives them."""

SHOWN = frozenset({"members", "alarms", "differences", "holders"})
"""By `drctl status`, `backup` and `inventory diff`, and handed on to nobody: no node keeps them."""

VALUES: Mapping[str, Any] = {
    **{name: dict[HostName, shape] for name, shape in PER_HOST.items()},  # type: ignore[valid-type]  # built at run time
    **SHARED,
}
"""Name -> shape of each value that a run's journal and manifests hold."""
