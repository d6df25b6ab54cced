# Everything that a newcomer types. The first call of a target makes .venv; later calls find it there.

SKYRACK := .venv/bin/skyrack
# Arguments for the command behind a target: make run ARGS="--rate 120"
ARGS ?=
# Test processes; every test file stays in one of them, so that its tests keep their order.
WORKERS ?= 2

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
export PYTHONUTF8 := 1

.PHONY: help run up down bench test test-boards check format lock setup setup-dev clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo 'Arguments go through ARGS: make run ARGS="--help"'

run: setup ## Fly a small constellation, run real jobs on it, print what came back
	@$(SKYRACK) run $(ARGS)

up: setup ## Bring up a constellation and leave it running
	@$(SKYRACK) up $(ARGS)

down: setup ## End what `make up` started
	@$(SKYRACK) down $(ARGS)

bench: setup ## Measure this machine against the figures that Skyrack aims at
	@$(SKYRACK) bench $(ARGS)

test: setup-dev ## Run all tests (ARGS="tests/skyrack -k dictionary" for some)
	@.venv/bin/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

test-boards: setup-dev ## Tests on emulated boards: kernel drivers, a Raspberry Pi, aarch64 (root makes their disks; see docs/bench.md)
	@scripts/boards/install
	@.venv/bin/python -m pytest -m boards -rsf --durations=10 tests/boards $(ARGS)

check: setup-dev ## Format, lint, types, who imports whom, the contract
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy proto/skyrack flight ground hil tests scripts
	.venv/bin/lint-imports
	.venv/bin/buf lint proto
	scripts/breaking

format: setup-dev ## Let ruff format and repair what it can
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

lock: setup-dev ## Pin newer versions: make lock ARGS=--upgrade
	scripts/lock $(ARGS)

setup:
	@scripts/bootstrap run

setup-dev:
	@scripts/bootstrap dev

clean: ## Remove the environment, caches and what was built
	rm -rf .venv .venv-tools build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -f proto/skyrack/v1/*_pb2.py proto/skyrack/v1/*_pb2.pyi
	find proto flight ground hil tests -name __pycache__ -prune -exec rm -rf {} +
