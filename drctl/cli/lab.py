"""`drctl lab`: practice clusters."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drctl.cli import complete
from drctl.cli.common import FOLDER, Options, output_option
from drctl.errors import UsageError
from drctl.ui.console import print_json, print_table, print_text, tell

if TYPE_CHECKING:
    from drctl.lab.labs import LabStatus

DEFAULT_DIR = Path(".lab")


_dir_option = click.option(
    "--dir",
    "directory",
    type=FOLDER,
    default=DEFAULT_DIR,
    show_default=True,
    help="The lab's directory.",
)
etcd_option = click.option(
    "--etcd",
    type=FOLDER,
    help="Directory with etcd, etcdctl and etcdutl [default: PATH, else what the driver can get].",
)


def _only_docker(function: Callable[..., None]) -> Callable[..., None]:
    """The options that only the Docker driver knows."""
    options = (
        click.option(
            "--flavour",
            type=click.Choice(["systemd", "static-pod"]),
            help="How the cluster is installed [docker only; default: systemd].",
        ),
        click.option(
            "--kubernetes",
            metavar="none|DIR|build",
            help="What runs in front of etcd: a stand-in, the Kubernetes binaries in DIR, or ones "
            "built once from Debian's source [docker only; default: none].",
        ),
        click.option(
            "--etcd-tools",
            type=click.Choice(["image", "host", "upload"]),
            help="With static pods: run etcdutl from etcd's image, use the machines' own, or send "
            "one [docker only; default: image].",
        ),
        click.option(
            "--workers",
            type=click.IntRange(0, 9),
            help="Worker machines [docker only; default: 1].",
        ),
        click.option(
            "--spare",
            "spares",
            type=click.IntRange(0, 9),
            help="Blank machines with SSH and nothing else [docker only; default: 0].",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.group("lab")
def lab_group() -> None:
    """Practice clusters: real etcd, on loopback or in Docker."""


@lab_group.command("up")
@_dir_option
@click.option(
    "--driver",
    type=click.Choice(["local", "docker"]),
    default="local",
    show_default=True,
    help="Where the hosts run: on loopback, or in Docker.",
)
@click.option("--members", type=click.IntRange(1, 7), default=3, show_default=True)
@etcd_option
@click.option(
    "--keys",
    type=click.IntRange(0),
    default=200,
    show_default=True,
    help="Keys to write into etcd.",
)
@click.option(
    "--value-size", type=click.IntRange(1), default=256, show_default=True, help="Bytes per value."
)
@_only_docker
@output_option
@click.pass_obj
def lab_up(options: Options, /, directory: Path, driver: str, **given: Any) -> None:
    """Start a lab; replaces a dead one in the same directory."""
    status = _up(driver, directory.absolute(), given)
    if options.json:
        print_json(status)
    else:
        tell(f"up: {directory / 'inventory.yaml'}")


def _up(driver: str, directory: Path, given: dict[str, Any]) -> LabStatus:
    """Options that were not given are left to the driver; ones it does not have are refused."""
    from drctl.lab import labs

    wanted = {name: value for name, value in given.items() if value is not None}
    if driver == "local":
        unknown = wanted.keys() & {"flavour", "kubernetes", "etcd_tools", "workers", "spares"}
        if unknown:
            raise UsageError(
                f"not an option of the local driver: {', '.join(sorted(unknown))}",
                hint="add --driver docker",
            )
    up = labs.load(driver).up
    status: LabStatus = up(directory, **wanted, say=tell)
    return status


@lab_group.command("down")
@_dir_option
def lab_down(directory: Path) -> None:
    """Stop everything in the lab and remove its directory."""
    from drctl.lab import labs

    labs.of(directory).down(directory.absolute(), tell)


@lab_group.command("status")
@_dir_option
@output_option
@click.pass_obj
def lab_status(options: Options, directory: Path) -> None:
    """Show hosts, ports, directories and endpoints."""
    from drctl.lab import labs

    status = labs.of(directory).status(directory.absolute())
    if options.json:
        print_json(status)
        return
    rows = ((n["name"], f"{n['ssh_host']}:{n['ssh_port']}", n["data_dir"]) for n in status["nodes"])
    print_table(("host", "ssh", "data"), rows)
    print_text("endpoints " + ",".join(status["etcd"]["endpoints"]))


@lab_group.command("ssh")
@_dir_option
@click.argument("node", shell_complete=complete.hosts)
def lab_ssh(directory: Path, node: str) -> None:
    """Log in to a host of the lab."""
    from drctl.lab import labs

    argv = labs.of(directory).ssh_argv(directory.absolute(), node)
    os.execvp(argv[0], argv)


@lab_group.command("break")
@_dir_option
@click.argument("kind", shell_complete=complete.breaks)
@click.option(
    "--node",
    help="Break this host [default: those that the kind or scenario names].",
    shell_complete=complete.hosts,
)
def lab_break(directory: Path, kind: str, node: str | None) -> None:
    """Break the lab's cluster: a scenario's damage, or one kind.

    `drctl drill list` lists the scenarios."""
    from drctl.drill import breaking
    from drctl.lab import labs

    site = labs.of(directory).site(directory.absolute())
    breaking.strike(site, kind, say=tell, node=node)
