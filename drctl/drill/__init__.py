"""Game days: what is broken in a lab, typed as an operator would, and proven from outside."""
