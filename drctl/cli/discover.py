"""`drctl inventory discover`, and the hosts that `drctl trust` takes without an inventory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from drctl.cli.common import (
    FILE,
    F,
    Options,
    can_ask,
    confirmed,
    output_option,
    write_new,
    yes_option,
)
from drctl.commands.discover import Wanted, discover, provisional
from drctl.discovery.checked import wrong
from drctl.discovery.files import read_file
from drctl.discovery.inventories import Discovered
from drctl.discovery.told import Machine, Told
from drctl.errors import Refused, UsageError
from drctl.inventory import Inventory, split_jump
from drctl.ui.console import print_json, print_text, tell


def machine_of(text: str, template: Machine) -> Machine:
    """A host as --host names it: [user@]address[:port]. Raises UsageError."""
    try:
        user, address, port = split_jump(text)
    except ValueError as error:
        raise UsageError(f"--host {text[:80]}: {error}", hint="[user@]address[:port]") from None
    name = f"{address}-{port}" if port else address
    return Machine(
        name=name.replace(":", "-"),
        source="--host",
        address=Told(address, "--host"),
        user=Told(user, "--host") if user else template.user,
        port=Told(port, "--host") if port else template.port,
        key=template.key,
        jump=template.jump,
        become=template.become,
    )


def template_of(given: dict[str, Any]) -> Machine:
    """What --user, --port, --key, --jump and --become say. Raises UsageError."""
    told: dict[str, Any] = {}
    for option in ("user", "port", "key", "jump"):
        value = given[option]
        if value is None:
            continue
        value = str(Path(value).expanduser().absolute()) if option == "key" else value
        if why := wrong(option, value):
            raise UsageError(f"--{option}: {why}")
        told[option] = Told(value, f"--{option}")
    if given["become"]:
        told["become"] = Told(given["become"], "--become")
    return Machine(name="", source="", **told)


def way_to(hosts: Sequence[str], reach: dict[str, Any]) -> Inventory:
    """The hosts of --host as an inventory that has nothing else. Raises UsageError."""
    template = template_of(reach)
    return provisional([machine_of(text, template) for text in hosts], reach["known_hosts"])


def reach_options(command: F) -> F:
    """How hosts are named and reached where there is no inventory yet."""
    for option in (
        click.option("--known-hosts", type=FILE, help="A known_hosts file besides your own."),
        click.option("--become", type=click.Choice(["sudo", "none"]), help="How to become root."),
        click.option("--jump", help="Jump host: [user@]address[:port]."),
        click.option("--key", help="Private key file."),
        click.option("--port", type=int, help="SSH port."),
        click.option("--user", help="Login user."),
        click.option("--host", "hosts", multiple=True, metavar="[USER@]ADDRESS[:PORT]",
                     help="A host; may be given again."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command("discover")
@reach_options
@click.option(
    "--from",
    "source",
    type=FILE,
    help="Take hosts, groups, users, ports from kubeasz's hosts, an Ansible inventory, "
    "k0sctl.yaml, or an inventory of drctl's.",
)
@click.option("--cluster", help="The cluster's name.")
@click.option(
    "--write",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the inventory to this new file [default: standard output].",
)
@yes_option
@output_option
@click.pass_context
def discover_command(
    context: click.Context,
    /,
    hosts: tuple[str, ...],
    source: Path | None,
    target: Path | None,
    yes: bool,
    known_hosts: Path | None,
    cluster: str | None,
    **reach: Any,
) -> None:
    """Write an inventory of a cluster that runs. Changes nothing there.

    Starts at one host, or at those of a file, and finds the others by what etcd and the apiservers
    name; these are contacted once you agree. What is not known is a marked question, never a guess.
    Ends with 4 where the file cannot be used before a question is answered."""
    options: Options = context.obj
    if target and target.exists():
        raise UsageError(f"{target} exists", hint="name a new file, and compare the two")
    template = template_of(reach)
    listed = read_file(source) if source else None
    for note in listed.notes if listed else ():
        tell(f"note: {note}")
    found = discover(
        options.controller(yes=yes),
        Wanted(
            hosts=tuple(machine_of(text, template) for text in hosts),
            template=template,
            listed=listed,
            cluster=cluster,
            known_hosts=known_hosts
            or (Path(listed.known_hosts.value) if listed and listed.known_hosts else None),
            agree=lambda question: _agree(question, yes=yes),
        ),
    )
    _show(options, found, target)
    if found.faults:
        context.exit(Refused.exit_code)


def _agree(question: str, *, yes: bool) -> bool:
    if yes:
        tell(question)
        return True
    if not can_ask():
        tell(f"{question}\nnot contacted: no terminal to ask on; --yes agrees, --host names them")
        return False
    return confirmed(question)


def _show(options: Options, found: Discovered, target: Path | None) -> None:
    if target:
        write_new(target, found.text)
    if options.json:
        print_json(
            {
                "written": str(target) if target else None,
                "inventory": found.text,
                "layout": found.layout,
                "questions": [{"at": at, "question": each} for at, each in found.questions],
                "faults": list(found.faults),
            }
        )
    elif not target:
        print_text(found.text, end="")
    for at, question in found.questions:
        tell(f"question: {at}: {question}")
    for fault in found.faults:
        tell(f"not usable yet: {fault}")
    if target and not found.faults:
        tell(f"written: {target}; next: drctl preflight --inventory {target}")
    elif target:
        tell(f"written: {target}; answer its questions, then: drctl inventory validate {target}")
