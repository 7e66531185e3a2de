"""Writes docs/when-it-fails.md from the situations, the error classes and every message that the
program and its node scripts can print during a restore, a resume or a rollback.

    python -m tests.house.when_it_fails > docs/when-it-fails.md
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from drctl import errors
from drctl.errors import DrctlError
from drctl.journal.diagnosis import commands
from drctl.journal.meanings import SITUATIONS
from drctl.journal.runstate import RunState
from tests.house import ROOT

ELSEWHERE = (
    "lab/",
    "drill/",
    "cli/",
    "inventory/",
    "discovery/",
    "commands/backup.py",
    "commands/discover.py",
    "commands/status.py",
    "commands/trust.py",
    "runs/stray_copies.py",
    "ssh/trust.py",
    "textfile.py",
    "yamlfaults.py",
    "yamlfile.py",
)
"""Not printed during a restore: practice, the command line itself (which says it at once), errors
in an inventory (each with its line), backups, status, trust."""
THEN = "see `then:`"
WITHOUT_HINT = {
    "bug": "report it",
    "usage": "correct the command line",
    "invalid": "fix it, then run the same command again",
    "host-unavailable": "make sure the host is up and reachable as the inventory says",
    "unreachable": "make sure the host is up and reachable as the inventory says",
    "auth-refused": "check user, key and sudo of that host in the inventory",
    "drifted": "put it back, or accept it by name: --accept-drift FIELD",
}
"""What to do where a message has no hint of its own; for all other codes, THEN."""
ADVICE = {
    "a process still uses …": "find it (`fuser -v` on that file), stop it, resume: an etcd runs "
    "there that the service manager does not know",
    "not gone in time": "find what holds the unit or the port (`systemctl status`, "
    "`ss -ltnp`), stop it, resume",
    "not up after 2 minutes": "read that unit's log on that node, fix it, resume",
    "refusing to move": "restore the mounts as they were, resume: the stage and the data are on "
    "different filesystems since a mount was added or lost",
    "refusing to replace": "look at it, move it away yourself, resume: someone put something where "
    "the data belongs",
    "the copy does not match": "resume: it sends the file again; if that fails too, suspect "
    "the disk",
    "the service manager does not answer": "fix systemd (or the inventory's commands) there, "
    "resume",
    "no kubelet runs here": "start it (`systemctl start kubelet`), make sure it stays up, resume",
    "the kubelet does not start again": "read its log there (`journalctl -u kubelet`), fix it, "
    "resume",
    "the kubelet did not stop the pods": "nothing to do: drctl restarts it and kills what is left",
    "names an image": "name the image under `etcd.image` in the inventory",
    "no manifest of … in": "put it there, resume (drctl never removes one: see `parked` and "
    "`RUN/manifests` in its `work_dir`)",
    "had come back with different content": "stop the upgrade or configuration management that put "
    "it back, and compare the kept file afterwards",
    "that was sent does not match": "resume: it sends the file again; if that fails too, suspect "
    "the disk",
    "the swap has begun": "check `drctl runs show`, then resume: another session went further",
    "no rebuilt data at …": "roll back: someone removed the rebuilt data",
    "appeared after the old data was moved": "look at it, move it away yourself, resume: "
    "something started etcd or copied data there",
    "is not what was there before the run": "look at it and at the kept data before anything "
    "else: someone replaced the directory",
    "data appeared in …": "look at it, move it away yourself, resume: something started etcd or "
    "copied data there",
    "another file is at": "look at it, move it away yourself, resume: someone put it there since "
    "the run began",
    "not removing its files": "stop it, then roll back again: an etcd runs there that this run "
    "did not start",
    "is not this run's blank cluster": "look at it, roll back: someone made or moved that "
    "directory",
    "is not installed": "install it there, resume",
    "Fix it there": "find out why it is so, run that command on that node as root, resume",
    "changed a moment ago": "find out who and why before anything else: another user of that node "
    "interferes with root there",
    "belongs to someone else": "find out who put it there and how they could, move it away, resume",
    "was not made by drctl": "find out who put it there and how they could, move it away, resume",
    "cannot work in etcd's own": "set `etcd.etcdutl: FILE` in the inventory, start a new run",
}
"""What to do about a node's own words, by a piece of them; for all others, THEN."""
HEAD = """\
# When it fails

<!-- Written by `python -m tests.house.when_it_fails`; a test compares it. -->

A restore never deletes or overwrites the old data: from any failure you can resume or roll back.
**Do not start etcd, lift a fence or move data by hand** before you have read the line `now:`. A
failure ends with lines like these:

    error: m2: rebuild (rebuild the member beside its old data) failed with status 1: no space left
    hint: fix the cause on that node, then resume; or roll back
          now:  etcd is stopped or stopping, and fenced; the old data is untouched and in place
          safe: waiting does no harm, even across a reboot; do not start etcd by hand
          then: drctl restore --resume 20261124-031502-0a1b2c --inventory prod.yaml
          or:   drctl rollback 20261124-031502-0a1b2c --inventory prod.yaml

Terminal gone? To see the same lines again (`--output json` for a script):

    drctl runs show --inventory prod.yaml

1. Read `now:` and find it in [How the cluster is now](#how-the-cluster-is-now).
2. Look up the exit code (`$?`): [What the exit code means](#what-the-exit-code-means).
3. Search this page for a piece of the message: [Every message](#every-message).
4. Fix the cause, then run the command after `then:`. It checks every node before it changes
   anything; you can repeat it as often as you like.
"""


@dataclass(frozen=True)
class Said:
    """A message with an ellipsis for what it fills in, and its own hint."""

    kind: str
    message: str
    hint: str = ""


# -- messages in Python -------------------------------------------------------------------------

PROBLEMS = {
    "refused": "refused",
    "drift": "drifted",
    "lock": "lock-held",
    "missing": "refused",
    "unproven": "not-proven",
}


def classes() -> list[type[DrctlError]]:
    """Every error class, in the order in which the module has them."""
    found = (thing for thing in vars(errors).values() if isinstance(thing, type))
    return [thing for thing in found if issubclass(thing, DrctlError)]


def filled(node: ast.expr | None) -> str | None:
    """A text with … for what is not known before it is said; None where nothing is."""
    if node is None:
        return None
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(filled(part) or "…" for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return "…"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return (filled(node.left) or "…") + (filled(node.right) or "…")
    if isinstance(node, ast.IfExp):
        return filled(node.body) or filled(node.orelse)
    if isinstance(node, ast.BoolOp):
        return filled(node.values[-1])
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "join"
        and isinstance(node.args[0], ast.List)
    ):
        return filled(node.args[0].elts[0])
    return None


class Messages(ast.NodeVisitor):
    """Collects what a module can say. A message in a variable is the text it was given in that
    function; a function that hands its `message` on says what its callers give it."""

    def __init__(self, tree: ast.Module) -> None:
        self.kinds = {kind.__name__: kind.code for kind in classes()}
        self.known: dict[str, ast.expr] = {}
        self.found: list[Said] = []
        self.wrappers = {
            function.name: function
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef) and self._hands_on(function)
        }
        for statement in tree.body:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                self.known[statement.targets[0].id] = statement.value
        self.visit(tree)

    def _hands_on(self, function: ast.FunctionDef) -> bool:
        given = {argument.arg for argument in function.args.args}
        return "message" in given and any(self._is_error(node) for node in ast.walk(function))

    def _is_error(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Call) and ast.unparse(node.func) in {*self.kinds, "Problem"}

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        kept = dict(self.known)
        for inner in ast.walk(node):
            if isinstance(inner, ast.Assign) and isinstance(inner.targets[0], ast.Name):
                self.known.setdefault(inner.targets[0].id, inner.value)
        self.generic_visit(node)
        self.known = kept

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        name = ast.unparse(node.func)
        if name not in self.kinds and name != "Problem" and name not in self.wrappers:
            return
        given = dict(zip(("message", "host", "hint", "kind"), node.args, strict=False))
        given |= {k.arg: k.value for k in node.keywords if k.arg}
        given = {**self._defaults(name), **given}
        message = self._text(given.get("message"))
        if message is None:
            return
        kind = self.kinds.get(name) or PROBLEMS[self._text(given.get("kind")) or self._kind(name)]
        self.found.append(Said(kind, message, self._text(given.get("hint")) or ""))

    def _defaults(self, name: str) -> dict[str, ast.expr]:
        if name not in self.wrappers:
            return {}
        arguments = self.wrappers[name].args
        values = arguments.defaults
        return {
            a.arg: v for a, v in zip(arguments.args[-len(values) :], values, strict=True) if values
        }

    def _kind(self, name: str) -> str:
        """What a wrapper, or else a Problem, is by default."""
        for call in ast.walk(self.wrappers[name]) if name in self.wrappers else ():
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "Problem":
                for value in [*call.args[3:4], *(k.value for k in call.keywords)]:
                    if isinstance(value, ast.Constant) and value.value in PROBLEMS:
                        return str(value.value)
        return "refused"

    def _text(self, node: ast.expr | None) -> str | None:
        if isinstance(node, ast.Name):
            return filled(self.known.get(node.id))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            choices = self.known.get(ast.unparse(node.func.value))
            if isinstance(choices, ast.Dict):  # TABLE.get(which)
                pairs = zip(choices.keys, choices.values, strict=True)
                return "; ".join(f"{filled(key)}: {filled(value)}" for key, value in pairs)
        return filled(node)


def python_messages() -> Iterator[Said]:
    package = ROOT / "drctl"
    for path in sorted(package.rglob("*.py")):
        if not str(path.relative_to(package)).startswith(ELSEWHERE):
            yield from Messages(ast.parse(path.read_text(encoding="utf-8"))).found


# -- messages of the nodes ----------------------------------------------------------------------


_TEXT = r'(?:\$\([^)]*\)|[^"])'  # a command in it may have quotes of its own
_SAID = re.compile(f'echo "({_TEXT}*)" >&2|why="({_TEXT}+)"|echo "why=({_TEXT}+)"')


def node_messages() -> Iterator[tuple[str, str]]:
    """(what is said, by which template) of every reason that a node script gives."""
    for path in sorted((ROOT / "templates").rglob("*.sh.j2")):
        name = str(path.relative_to(ROOT / "templates"))
        if name.startswith(("lab/", "backup/")):
            continue
        text = path.read_text(encoding="utf-8")
        for said in _SAID.findall(text):
            if words := plain("".join(said)).strip("… "):
                yield plain("".join(said)) if " " in words else words, name.removesuffix(".sh.j2")


def plain(shell: str) -> str:
    """Shell and template variables as an ellipsis."""
    text = re.sub(r"\{\{.*?\}\}|\$\{[^}]*\}|\$\([^)]*\)|\$\w+", "…", shell)
    return re.sub(r"(… ?)+", "… ", text).strip()


# -- the page -----------------------------------------------------------------------------------


def cell(text: str) -> str:
    return re.sub(r"\s*\n\s*", " ", text).replace("|", "\\|").strip()


def situations() -> Iterator[str]:
    yield "\n## How the cluster is now\n"
    yield "From the start of a run to its end; `RUN` and `FILE` are the names drctl shows.\n"
    for word, meaning in SITUATIONS.items():
        yield f"### {word}\n"
        yield f"- **now:** {meaning.now}"
        yield f"- **safe:** {meaning.safe}"
        ways = " or ".join(f"`{way}`" for way in commands(example(word)))
        yield f"- **run:** {ways}\n"


def example(word: str) -> RunState:
    """A run in that situation, as far as the commands depend on it."""
    state = RunState(run="RUN", inventory="FILE", runbook="restore", state="failed", claimed=True)
    state.plan = {"facts": {"snapshot": {"path": "SNAPSHOT"}}}
    if word == "untouched":
        state.claimed = False
    elif word in ("done", "own-runbook-done", "cleaning", "cleaned"):
        state.state = "done"
        state.cleaned = "2026-11-24T06:00:00+00:00" if word.startswith("clean") else ""
        state.direction = "clean" if word == "cleaning" else "forward"
    elif word in ("rolled-back", "partly-taken-back"):
        state.state = "rolled-back"
        state.left_out = ["HOST"] * (word == "partly-taken-back")
    elif word == "followed":
        state.state = "done"
        state.compared = {"followed": {"HOST": {"run": "LATER", "who": "WHO", "at": "AT"}}}
    elif word == "taking-back":
        state.direction = "undo"
    return state


def exit_codes() -> Iterator[str]:
    yield "## What the exit code means\n"
    yield "| exit | code in JSON | what it means, and what to do |"
    yield "|---|---|---|"
    for kind in classes():
        yield f"| {kind.exit_code} | `{kind.code}` | {cell(kind.__doc__ or '')} |"


def messages() -> Iterator[str]:
    yield "\n## Every message\n"
    yield "An ellipsis (…) stands for what drctl fills in. Where a refusal comes after a change,"
    yield "the exit code is 5 instead of 4. `then:` is at the end of nearly every message."
    by_kind: dict[str, list[Said]] = {}
    for said in dict.fromkeys(python_messages()):
        by_kind.setdefault(said.kind, []).append(said)
    for kind in classes():
        rows = sorted(by_kind.pop(kind.code, ()), key=lambda said: said.message)  # a code once
        if rows:
            yield f"\n### {kind.code} (exit {kind.exit_code})\n"
            other = WITHOUT_HINT.get(kind.code, THEN)
            yield "| message | what to do |"
            yield "|---|---|"
            yield from (f"| {cell(said.message)} | {cell(said.hint or other)} |" for said in rows)
    yield "\n### What a node says\n"
    yield "The node's own message, after `failed with status` or `cannot tell whether`: exit 5,"
    yield "or 4 before anything was changed."
    yield "\n| message | what to do | said by |"
    yield "|---|---|---|"
    for words, template in sorted(dict.fromkeys(node_messages())):
        what = next((advice for piece, advice in ADVICE.items() if piece in words), THEN)
        yield f"| {cell(words)} | {what} | `templates/{template}` |"


def page() -> str:
    return "\n".join([HEAD, *situations(), *exit_codes(), *messages()]) + "\n"


if __name__ == "__main__":
    print(page(), end="")
