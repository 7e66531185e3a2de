"""Take each protection away, one by one, in a copy of the tree: the fast tests must notice.

    python -m tests.guards [NAME...] [--quick] [--record FILE] [--table FILE]

First the tests that guards.yaml names are run, then, where they do not notice, all fast ones; the
golden plans are left out, as they notice every change. At the end the tests that noticed are run
with everything in place, where they must pass. Prints a line each; `--table` writes docs/guards.md.
Goes on where it was stopped if a `--record` is kept. Ends with 1 where a removal goes unnoticed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.guards.catalogue import Guard, guards
from tests.house import ROOT
from tests.house.files import committed

FAST = (
    *("floor", "etcd", "kube", "reading", "inventory", "plan", "journal", "nodes", "engine", "ui"),
    *("runs", "evidence", "commands", "cli", "model", "ssh", "templates"),
)
GOLDEN = "tests/plan/test_golden.py"
SECONDS = 1800
_FAILED = re.compile(r"^(?:FAILED|ERROR) (tests/\S+?\.py::.+?)(?: - .*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """`by` is the test that noticed, or "" where none did."""

    by: str
    seconds: float
    trouble: str = ""  # why the answer cannot be relied on


def copied(folder: Path) -> None:
    for path in committed():
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)


def pytest(folder: Path, tests: Iterable[str], *more: str) -> subprocess.CompletedProcess[str]:
    """Run tests of the copy in `folder`."""
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rfE",
        "--tb=no",
        "-p",
        "no:cacheprovider",
    ]
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"COLUMNS": "400"}  # so that no name of a test is cut short
    return subprocess.run(
        [*words, *more, f"--ignore={GOLDEN}", *tests],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def noticed(folder: Path, tests: Iterable[str]) -> str:
    """The test that fails, or ""; RuntimeError where they could not be run."""
    ran = pytest(folder, tests, "-x")
    if ran.returncode == 0:
        return ""
    found = _FAILED.search(ran.stdout)
    if ran.returncode != 1 or found is None:
        raise RuntimeError(f"pytest ended with {ran.returncode}: {ran.stdout[-600:]}{ran.stderr}")
    return found[1]


def remove(guard: Guard, folder: Path, quick: bool) -> Outcome:
    """Take `guard` away in the copy, see who notices, and put it back. `quick`: ask only the tests
    that the guard names."""
    started = time.monotonic()
    path = folder / guard.file
    whole = path.read_text(encoding="utf-8")
    path.write_text(guard.without(whole), encoding="utf-8")
    try:
        by = noticed(folder, guard.tests)
        if not by and not quick:
            by = noticed(folder, [f"tests/{name}" for name in FAST])
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        return Outcome("", time.monotonic() - started, str(error))
    finally:
        path.write_text(whole, encoding="utf-8")
    return Outcome(by, time.monotonic() - started)


def untrue(outcomes: Iterable[tuple[Guard, Outcome]]) -> set[str]:
    """The tests that fail with every protection in place too: they noticed nothing."""
    tests = sorted({outcome.by for _, outcome in outcomes if outcome.by})
    with tempfile.TemporaryDirectory(prefix="drctl-guards-") as made:
        copied(Path(made))
        ran = pytest(Path(made), tests)
    if ran.returncode not in (0, 1):  # no tests found, say, which is no proof of anything
        raise RuntimeError(f"pytest ended with {ran.returncode}: {ran.stdout[-600:]}{ran.stderr}")
    return set(_FAILED.findall(ran.stdout)) if ran.returncode else set()


def digest(guard: Guard) -> str:
    return hashlib.sha256(repr(guard).encode()).hexdigest()[:16]


def all_outcomes(
    chosen: Iterable[Guard], record: Path | None, quick: bool
) -> Iterator[tuple[Guard, Outcome]]:
    """Each guard's outcome; those that `record` has are not made again."""
    kept = json.loads(record.read_text()) if record and record.exists() else {}
    with tempfile.TemporaryDirectory(prefix="drctl-guards-") as made:
        folder = Path(made)
        copied(folder)
        for guard in chosen:
            known = kept.get(digest(guard))
            outcome = Outcome(**known) if known else remove(guard, folder, quick)
            if record and outcome.by and not outcome.trouble:
                kept[digest(guard)] = vars(outcome)
                record.write_text(json.dumps(kept, indent=1))
            yield guard, outcome


def table(outcomes: list[tuple[Guard, Outcome]]) -> str:
    """docs/guards.md."""
    lines = [
        "# Guards",
        "",
        "What keeps a restore from doing harm. Each protection was taken away, one by one, in a",
        "copy of the tree, and the fast tests were run: the last column is the test that noticed",
        "(it passes with the protection in place). Golden plans do not count. Written by",
        "",
        "    make guards    # python -m tests.guards --table docs/guards.md",
        "",
        f"{len(outcomes)} protections, {sum(bool(o.by) for _, o in outcomes)} removals noticed.",
        "",
        "| guard | keeps | taken away in | noticed by |",
        "|---|---|---|---|",
    ]
    for guard, outcome in outcomes:
        by = outcome.by.removeprefix("tests/").replace("|", "\\|")
        lines.append(
            f"| {guard.name} | {guard.keeps} | `{guard.file}` | `{by}` |"
            if by
            else f"| {guard.name} | {guard.keeps} | `{guard.file}` | **NOT NOTICED** |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", help="only these guards")
    parser.add_argument("--record", type=Path, help="what was noticed so far: goes on from there")
    parser.add_argument("--quick", action="store_true", help="only the tests that are named")
    parser.add_argument("--table", type=Path, help="write the table there")
    arguments = parser.parse_args()
    known = {guard.name: guard for guard in guards()}
    if unknown := set(arguments.names) - set(known):
        parser.error(f"no guard {', '.join(sorted(unknown))}")
    chosen = [known[name] for name in arguments.names] or list(known.values())
    outcomes = []
    for guard, outcome in all_outcomes(chosen, arguments.record, arguments.quick):
        outcomes.append((guard, outcome))
        told = outcome.trouble or outcome.by or "NOT NOTICED"
        print(f"{guard.name:28} {outcome.seconds:4.0f} s  {told}", flush=True)
    failing = untrue(outcomes)
    for test in sorted(failing):
        print(f"fails with every protection in place: {test}")
    bad = [guard.name for guard, outcome in outcomes if not outcome.by or outcome.by in failing]
    print(
        f"{len(outcomes)} removals, {len(outcomes) - len(bad)} noticed"
        + "".join(f"\n  {n}" for n in bad)
    )
    if arguments.table:
        arguments.table.write_text(table(outcomes), encoding="utf-8")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
