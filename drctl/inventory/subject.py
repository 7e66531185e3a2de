"""What the checks look at, and what they answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from drctl.inventory.model import InventoryFile
from drctl.inventory.resolved import Inventory
from drctl.yamlfile import KeyPath

Complaint = tuple[KeyPath, str]


@dataclass(frozen=True)
class Subject:
    """The inventory as written and as resolved.

    Where something in the file could not be used, `left_out` says what, and `hosts` and `groups`
    still have all the names in the file, so that one error does not look like several.
    """

    file: InventoryFile
    inventory: Inventory
    hosts: frozenset[str]
    groups: frozenset[str]
    left_out: frozenset[KeyPath] = frozenset()

    def misses(self, section: str) -> bool:
        """Whether something in this section could not be used."""
        return any(path[0] == section for path in self.left_out)


Check = Callable[[Subject], Iterator[Complaint]]
