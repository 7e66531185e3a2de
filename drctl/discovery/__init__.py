"""From what an operator has (a running cluster, another tool's file) to an inventory of drctl's."""
