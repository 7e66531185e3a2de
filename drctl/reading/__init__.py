"""One reading of what runs on a host, and of what would start it: `node/reading`'s answer in, typed
programs and their settings out, each with where it was read; and the inventory held against it.

Opens no connection. A host's word is believed for that host only.
"""

from drctl.reading.claimed import Claims, Difference
from drctl.reading.evidence import Evidence, read_evidence
from drctl.reading.judge import ACCEPT, compare, differences, fits_inventory
from drctl.reading.programs import Program, Reading, Starter, read_host
from drctl.reading.settings import Setting
from drctl.verdict import Judge

__all__ = [
    "ACCEPT",
    "JUDGES",
    "Claims",
    "Difference",
    "Evidence",
    "Program",
    "Reading",
    "Setting",
    "Starter",
    "compare",
    "fits_inventory",
    "read_evidence",
    "read_host",
]

JUDGES: dict[str, Judge] = {
    "reading.fits_inventory": fits_inventory,
    "reading.differences": differences,
}
"""Every judge of this package by the name that a runbook uses."""
