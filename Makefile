# The commands that everyone relies on. `make demo` and `make test` work in a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := fast,rl,plots,report,dashboard,test
EXTRAS_ALL := $(EXTRAS),brax,mujoco,docs,optuna,torch,transformers,trl,lightning,keras,nnx,skrl,sb3,ray,rllib,mcp,mlflow,wandb,tensorboard,test-s3,test-browser,test-notebook
STAMP := $(VENV)/.installed
DEMO := runs/demo
PYTHONS ?= python3.11 python3.12 python3.13

.PHONY: setup setup-all browser demo test test-all lint docs package clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("poptrain needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.11 …") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $(STAMP)

setup-all: setup
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS_ALL)]'

# 4 PPO agents × 250,000 steps on BipedalWalker-v3, tuned by PB2, against random search: returns, schedule, plots, film.
demo: setup
	$(BIN)/python -m examples.demo $(DEMO)

# Tests start many processes: compiled modules are kept even where Python is told not to write them. They write, and remove, some
# hundred thousand small files: in memory, where there is room for them.
test: export PYTHONDONTWRITEBYTECODE =
test: export TMPDIR := $(shell [ -w /dev/shm ] && [ "$$(df -k --output=avail /dev/shm 2>/dev/null | tail -1)" -gt 4000000 ] && echo /dev/shm)
test: setup
	$(BIN)/python -m pytest -m 'not heavy' -n 2 --dist loadfile

# Tests of laws with drawn cases, of which `make test` tries a third: see tests/often.py.
DRAWN = $(shell grep -rl "^from often import" tests)

# The report and the dashboard are opened in real browsers, and a film of MuJoCo is drawn. Where a package of Debian cannot be installed from
# here, its tests say what is missing.
BROWSERS := chromium firefox-esr libosmesa6
browser:
	@command -v chromium >/dev/null && command -v firefox-esr >/dev/null && ldconfig -p | grep -q libOSMesa || [ "$$(id -u)" != 0 ] || \
	  apt-get install -qq -y --no-install-recommends $(BROWSERS) >/dev/null || \
	  { apt-get update -qq && apt-get install -qq -y --no-install-recommends $(BROWSERS) >/dev/null; } || true

test-all: setup-all browser
	$(BIN)/python -m pytest -m heavy -n 2 --dist loadfile --ignore-glob='*test_ray*' --ignore-glob='*test_rllib*'
	$(BIN)/python -m pytest -m heavy tests/integrations/test_ray*.py tests/integrations/test_rllib.py tests/executors/test_ray*.py
	POPTRAIN_TEST_OPTIMISED=1 $(BIN)/python -m pytest -m 'not heavy' -n 2 --dist loadfile tests/rl tests/executors/test_vectorized.py tests/golden
	POPTRAIN_TEST_LONG=1 $(BIN)/python -m pytest -m 'not heavy' -n 2 --dist loadfile $(DRAWN)

lint: setup
	$(BIN)/ruff check src tests benchmarks examples docs
	$(BIN)/ruff format --check src tests benchmarks examples docs
	$(BIN)/mypy
	$(BIN)/python tests/house/test_english.py

# The documentation as a site that needs no network: open site/index.html.
docs: setup
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --clean
	@echo "open site/index.html"

# Build, check the metadata, and try the wheel in an empty environment with each Python of PYTHONS that is installed.
package: setup
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[package]'
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python tests/house/smoke_wheel.py dist $(PYTHONS)

clean:
	rm -rf $(VENV) runs site build dist src/*.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache
