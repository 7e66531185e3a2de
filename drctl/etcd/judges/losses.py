"""What a rollback would throw away: all that was written to the restored cluster since it was
proven. It is counted; keys are never named, as some names are secrets of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drctl.answer import Answer, AnswerError, parse_number, shown
from drctl.etcd.judges.common import expected_members, members_heard, read, readable
from drctl.verdict import Gathered, Problem, Verdict

KINDS = 100  # more than templates/etcd/written tells apart
SHOWN = 12  # kinds of keys that are listed one by one


def what_would_be_lost(gathered: Gathered) -> Verdict:
    """Counts what going back to the old data would lose, and refuses where that is anything and
    nobody agreed to lose it (options["lose_writes"]).

    Before a client of the data was let in (facts["let_in"], in words), and while the run has not
    ended (facts["ended"]), nobody was told that the cluster may be used. Afterwards a majority must
    still be at the proven revision; no answer is no proof. A rollback that has taken something back
    (facts["taken_back"]) was agreed to then: midway there is no cluster left to ask, and what it
    said then holds.

    Yields would_be_lost, empty where that is nothing, and keep_restored (yes|no): whether the
    restored data may hold something that exists nowhere else, by the time that it is taken away.
    """
    if gathered.facts.get("taken_back"):
        known = {"would_be_lost": {}, "keep_restored": "yes"}
        values = {name: gathered.values.get(name, default) for name, default in known.items()}
        return Verdict(values, findings=("already confirmed when the rollback began",))
    since = _since(gathered.facts)
    if not since:
        return _nothing("nothing that writes to the restored cluster was started", keep="no")
    lost = _lost(gathered, since)
    if not lost:  # yet: clients are let in until the services are stopped
        proven = gathered.values["proven_revision"]
        return _nothing(f"still at the verified revision {proven}", keep="yes")
    if gathered.options.get("lose_writes"):
        values = {"would_be_lost": lost, "keep_restored": "yes"}
        return Verdict(values, findings=tuple(lost["said"]))
    counted = "\n    ".join(lost["said"])
    return Verdict(
        problems=(
            Problem(
                f"a rollback would lose what was written since: {counted}",
                hint="to lose it, add --lose-writes; the old data stays where it is (drctl runs "
                "show says where)",
            ),
        )
    )


def _nothing(finding: str, *, keep: str) -> Verdict:
    return Verdict({"would_be_lost": {}, "keep_restored": keep}, findings=(finding,))


def _since(facts: Mapping[str, Any]) -> str:
    """Since when someone may have written; "" where nobody could."""
    if let_in := facts.get("let_in"):
        return f"Kubernetes was started ({let_in[0]})"
    return "the restore ended" if facts.get("ended") else ""


def _lost(gathered: Gathered, since: str) -> dict[str, Any]:
    """Numbers, None where one is not known, and the words for them; {} where nothing was written,
    proven by a majority."""
    proven = gathered.values.get("proven_revision")
    found, _ = readable(gathered, "missing")
    voices, strange = members_heard(gathered)
    counted, garbled = read({h: found[h] for h in voices}, _counts)
    told = {h: v.status.revision for h, v in voices.items() if h in counted and v.status}
    heard = [(revision, counted[host]) for host, revision in told.items()]
    asked = len(expected_members(gathered)) or len(gathered.answers) + len(gathered.silent)
    majority = 2 * len(heard) > asked
    lying = [
        f"{p.host}: {p.message}" for p in (*strange, *garbled)
    ]  # heard no more than silent ones
    latest = max((revision for revision, _ in heard), default=None)
    if majority and latest == proven:
        return {}
    revisions = latest - proven if proven is not None and latest is not None else None
    if revisions is not None and (revisions < 0 or (revisions == 0 and not majority)):
        revisions = None  # others may have taken more than this one knows
    lost = {
        "revisions": revisions,
        "since": since,
        "proven": proven,
        "latest": latest,
        "answered": [len(heard), asked],
        **_keys([counts for revision, counts in heard if revision == latest]),
    }
    return {**lost, "said": _said(lost, majority) + lying[:SHOWN]}


def _counts(host: str, report: Answer) -> dict[str, Any] | None:
    """How many keys of each kind this member counted; None where it could not list them. Raises
    AnswerError."""
    if report.get("listed") != "yes":
        return None
    before, left = (report.number_or_none(name) for name in ("keys_before", "keys_left"))
    kinds = dict(_kind(word, host) for word in report.words("written", most=KINDS))
    deleted = None if before is None or left is None else before - left
    return {"kinds": kinds, "deleted": deleted}


def _kind(word: str, host: str) -> tuple[str, list[int]]:
    kind, *numbers = word.rsplit(":", 2)
    try:
        created, changed = (parse_number(number) for number in numbers)
    except ValueError:  # AnswerError is one
        raise AnswerError(f"written: {shown(word)!r} is not a count", host=host) from None
    return shown(kind), [created, changed]


def _keys(latest: list[dict[str, Any] | None]) -> dict[str, Any]:
    """What the first of these members that listed its keys says of them."""
    return next((counts for counts in latest if counts), {"kinds": None, "deleted": None})


def _said(lost: Mapping[str, Any], majority: bool) -> list[str]:
    number, (answered, asked) = lost["revisions"], lost["answered"]
    unsure = "" if majority else "at least "
    many = "an unknown number of" if number is None else f"{unsure}{number}"
    lines = [f"{many} revisions since {lost['since']}; {answered} of {asked} members answer"]
    if lost["kinds"] is None:
        return [*lines, "keys unknown: no member could list them"]
    created, changed = (sum(counts[n] for counts in lost["kinds"].values()) for n in (0, 1))
    deleted = "an unknown number" if lost["deleted"] is None else lost["deleted"]
    lines.append(f"keys: {created} created, {changed} changed, {deleted} deleted")
    for n, what in enumerate(("created", "changed")):
        lines += [f"{what}: {counted}"] if (counted := _counted(lost["kinds"], n)) else []
    return lines


def _counted(kinds: Mapping[str, list[int]], n: int) -> str:
    counts = sorted(((c[n], kind) for kind, c in kinds.items() if c[n]), reverse=True)
    rest = sum(count for count, _ in counts[SHOWN:])
    shown = [f"{kind} {count}" for count, kind in counts[:SHOWN]]
    return ", ".join([*shown, *([f"other {rest}"] if rest else [])])
