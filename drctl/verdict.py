"""What a judge is given and what it answers.

A judge is a pure function over the answers of all hosts of a step. It opens no connection, reads
no clock and no file: whatever it needs stands in the `Gathered`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["refused", "drift", "lock", "missing", "unproven"]


@dataclass(frozen=True)
class Gathered:
    """`answers` holds each host's output; `silent` the hosts that gave none, with the reason."""

    answers: Mapping[str, str]
    silent: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)  # what the plan knew before the run
    values: Mapping[str, Any] = field(default_factory=dict)  # what earlier judges yielded
    options: Mapping[str, Any] = field(default_factory=dict)  # what the operator asked for
    asked: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """By this machine's clock, when each host was asked and had answered: in epoch seconds."""


@dataclass(frozen=True)
class Problem:
    """A reason to stop. `hint` is what to type or do next."""

    message: str
    host: str | None = None
    hint: str | None = None
    kind: Kind = "refused"


@dataclass(frozen=True)
class Verdict:
    """`values` are journalled before anything uses them; a per-host value is `{host: value}`."""

    values: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()  # measured things worth a line in the report

    def and_then(self, other: Verdict) -> Verdict:
        """Both verdicts as one; what both say of the same answers is said once."""
        return Verdict(
            {**self.values, **other.values},
            tuple(dict.fromkeys(self.problems + other.problems)),
            self.warnings + other.warnings,
            self.findings + other.findings,
        )


Judge = Callable[[Gathered], Verdict]
