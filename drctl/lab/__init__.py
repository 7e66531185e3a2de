"""The lab: a small, real cluster on this machine, to rehearse on and to test with."""
