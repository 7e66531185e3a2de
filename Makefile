# Everything a checkout needs, done by the target that needs it. `make help` lists the targets.

VENV  := .venv
READY := $(VENV)/.ready
PIP   := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check

# The first Python that is new enough; `make PYTHON=/path/to/python3.12 setup` takes another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

# The stamp says where the venv was made and from what, and is written last: a venv that is
# incomplete, outdated, moved (its scripts hold absolute paths) or without its Python is made again.
MADE_FROM := $(CURDIR) $(shell cat pyproject.toml requirements.txt | cksum)
ifneq ($(shell $(VENV)/bin/python -c '' 2>/dev/null && cat $(READY) 2>/dev/null),$(MADE_FROM))
$(READY): remake
endif

VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' drctl/__init__.py)

.DEFAULT_GOAL := help
.PHONY: setup drill drills test check guards campaign reality bench picture image clean help remake

setup: $(READY)  ## make .venv with drctl, the lab and the developers' tools
	@echo "$(VENV)/bin/drctl is ready"

drill: $(READY)  ## rehearse a whole restore on a local three-member cluster
	@$(VENV)/bin/drctl drill

# Records of what has passed; `make drills` continues where it stopped. Directories to give:
# KUBERNETES=DIR (default: built once), ETCD=DIR (default: what each driver finds).
DRILLS     ?= .drills
KUBERNETES ?= build

drills: $(READY)  ## every scenario: on loopback, on systemd machines and on static pods in Docker
	@status=0; for how in "--driver local" \
		"--driver docker --flavour systemd --kubernetes $(KUBERNETES)" \
		"--driver docker --flavour static-pod --kubernetes $(KUBERNETES)"; do \
		echo "== $$how"; \
		$(VENV)/bin/drctl drill run --all --go-on $$how $(if $(ETCD),--etcd $(ETCD)) \
			--state-dir $(DRILLS) || { ended=$$?; [ $$ended = 4 ] || status=$$ended; }; \
	done; $(VENV)/bin/drctl drill history --state-dir $(DRILLS); exit $$status

test: $(READY)  ## lint, types and all tests (PYTEST_ARGS="-k fence" for some)
	@$(VENV)/bin/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

# The inner loop: what needs no lab, no engine and no patience, shell templates in dash alone.
# `make test` has all of it, and the rest.
CHECKED := house floor etcd kube inventory plan journal nodes engine ui runs evidence commands templates cli

check: $(READY)  ## the fast half of `make test`: static checks, judges, plans, commands, templates
	@$(VENV)/bin/python -m pytest -n 2 --dist loadfile -m "not slow" -k "not busybox" \
		$(addprefix tests/,$(CHECKED)) $(PYTEST_ARGS)

guards: $(READY)  ## remove each protection, one by one: the fast tests must notice
	@$(VENV)/bin/python -m tests.guards --table docs/guards.md

campaign: $(READY)  ## N restores of real etcd with faults drawn from SEED; continues where it stopped (LANE=0/3 ETCD=DIR DRIVER=docker)
	@$(VENV)/bin/python -m tests.campaign $(if $(N),--runs $(N)) --seed $(or $(SEED),1) \
		--lane $(or $(LANE),0/1) --driver $(or $(DRIVER),local) $(if $(ETCD),--etcd $(ETCD))

# What it compares with, in a venv of its own.
BENCH_VENV := .venv-bench
BENCH_MADE := $(CURDIR) $(shell sed -n '/^bench = /p' pyproject.toml | cksum)

bench: $(READY)  ## how long it takes beside OpenSSH, Ansible, pyinfra, paramiko: docs/performance.md (QUICK=1: 3 minutes, prints only)
	@[ "$$(cat $(BENCH_VENV)/.ready 2>/dev/null)" = '$(BENCH_MADE)' ] || { \
		echo "setting up $(BENCH_VENV) (once; about a minute)"; \
		rm -rf $(BENCH_VENV) && $(PYTHON) -m venv $(BENCH_VENV) && \
		$(VENV)/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["bench"], sep="\n")' \
			> $(BENCH_VENV)/requirements.txt && \
		$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: -r $(BENCH_VENV)/requirements.txt && \
		printf '%s\n' '$(BENCH_MADE)' > $(BENCH_VENV)/.ready; }
	@$(VENV)/bin/python -m tests.bench --programs $(BENCH_VENV)/bin $(if $(QUICK),--quick) \
		$(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(ETCD),--etcd $(ETCD)) $(BENCH_ARGS)

reality: $(READY)  ## one thing wrong at a time in all three labs: named in step 1, and green once mended (LAB=local ETCD=DIR)
	@$(VENV)/bin/python -m tests.reality $(if $(LAB),--lab $(LAB)) $(if $(ETCD),--etcd $(ETCD)) --table docs/reality.md

picture: $(READY)  ## make docs/restore.svg again: a real restore of a local cluster, as the terminal shows it (ETCD=DIR)
	@$(VENV)/bin/python -m tests.picture docs/restore.svg $(ETCD)

image:  ## build the container image drctl:VERSION (BASE=IMAGE instead of bookworm-slim)
	docker build --tag drctl --tag drctl:$(VERSION) $(if $(BASE),--build-arg BASE=$(BASE)) .

clean:  ## remove .venv, the caches and what was built
	rm -rf $(VENV) dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find drctl tests -name __pycache__ -type d -prune -exec rm -rf {} +

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST)

$(READY):
	@if [ -z "$(PYTHON)" ]; then \
		echo "drctl needs Python 3.11 or newer, and $$(python3 --version 2>/dev/null || echo 'no python3') was found" >&2; \
		echo "hint: install it (Debian, Ubuntu: apt install python3 python3-venv), or name one: make PYTHON=/path/to/python3 setup" >&2; \
		exit 1; \
	fi
	@if ! $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null; then \
		echo "$(PYTHON) has no venv module" >&2; \
		echo "hint: install the package python3-venv (Debian, Ubuntu: apt install python3-venv)" >&2; \
		exit 1; \
	fi
	@echo "setting up $(VENV) (once; about a minute)"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --require-hashes --only-binary :all: -r requirements.txt
	@$(PIP) --no-index --no-deps --no-build-isolation -e .
	@printf '%s\n' '$(MADE_FROM)' > $(READY)
