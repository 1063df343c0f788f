# Every target sets up what it needs; run again, it starts within seconds.
VENV := .venv/bin
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# One process per core, at most four; the tests of a file share what they set up. The files of
# most tests are not moved to the front: those of few long ones would come last, to one process.
PYTEST := $(VENV)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow check-wheel check-versions lint format docs docs-site lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install the pinned dependencies into .venv
	@tools/setup.sh

demo: setup ## a whole campaign: silicon from DFT (15 to 25 minutes on 2 idle cores)
	@$(VENV)/entrove run examples/silicon/campaign.yaml

test: setup ## the tests that must pass before a change is merged
	@$(PYTEST)

test-slow: setup ## all tests, including the long ones
	@tools/install_lammps.sh
	@ENTROVE_LAMMPS_PLUGIN=$(CURDIR)/.lammps/plugin/e3gnnplugin.so PATH="$(PATH):$(CURDIR)/.lammps/path" $(PYTEST) -m ""

check-wheel: setup ## build the package, and try it in a bare environment (needs uv)
	@tools/check_wheel.sh --extras

check-versions: setup ## tests with the lowest and the newest versions that are allowed (needs uv)
	@tools/check_versions.sh lowest
	@tools/check_versions.sh newest

lint: setup ## format check, lint, import rules, types, links and docstrings of the site
	@$(VENV)/ruff format --check .
	@$(VENV)/ruff check .
	@$(VENV)/lint-imports
	@$(VENV)/pyright
	@$(MAKE) --no-print-directory docs-site

format: setup ## format, and fix what ruff can fix
	@$(VENV)/ruff format .
	@$(VENV)/ruff check --fix .

docs: setup ## regenerate the reference page of the configuration
	@$(VENV)/entrove reference > docs/configuration.md

docs-site: setup ## build the documentation site in build/site
	@NO_MKDOCS_2_WARNING=1 $(VENV)/python -m mkdocs build --strict --quiet
	@echo "open build/site/index.html"

lock: setup ## pin the newest versions that fit (needs uv)
	@tools/lock.sh

clean: ## remove what setup made; campaigns stay, because their labels took DFT time
	rm -rf .venv .uv .lammps
