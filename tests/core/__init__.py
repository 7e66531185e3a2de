"""Fast tests of journal, plan, engine and command line: no SSH, no etcd, no real clock."""
