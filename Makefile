# tollspan: `make` alone lists the targets. Everything is installed into .venv, nothing elsewhere.
.DEFAULT_GOAL := help
.PHONY: help demo fleet-demo test test-core lint bench prices prove chaos clean

# Looked up only when a target needs it, and then once, so that `make help` and `make clean` work without any Python.
find_python = p=$$(scripts/find-python.sh) && $$p
bin := .venv/bin

help: ## this list
	@sed -n 's/^\([a-z-]*\): ## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-17s %s\n", $$1, $$2}'

demo: ## set up, then watch a real program run into a budget
	@$(find_python) scripts/environment.py demo
	@$(bin)/python scripts/demo.py

fleet-demo: ## set up, then watch a whole fleet spend one budget (KEEP=1: and stay to look around)
	@$(find_python) scripts/environment.py dev
	@$(bin)/python scripts/fleet_demo.py $(if $(KEEP),--keep)

test: ## set up, then every check and every test: what CI runs
	@$(find_python) scripts/stages.py all

test-core: ## the tests that need no service and no root
	@$(find_python) scripts/stages.py core

lint: ## ruff, mypy, pyright, import layers
	@$(find_python) scripts/stages.py lint

bench: ## speed and size, against the bare client and other instrumentors
	@$(find_python) scripts/environment.py dev
	@$(bin)/python -m benchmarks

prices: ## compile the price book anew from its pinned sources
	@$(find_python) scripts/environment.py dev
	@$(bin)/python exporter/pricebook

prove: ## the long runs: minutes to hours
	@$(find_python) scripts/stages.py prove

chaos: ## ten minutes in which everything breaks: MINUTES=1 for less, SEED=7 for the same again
	@$(find_python) scripts/environment.py dev
	@$(bin)/python scripts/chaos.py --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

clean: ## remove what the other targets made
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .grimp_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
