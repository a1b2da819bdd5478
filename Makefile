# Each target makes the environment it needs, so a fresh checkout wants Python alone.
PYTHON ?= python3
PYTHON_OLDEST ?= python3.11
VENV := .venv
VENV_OLDEST := .venv-oldest
BIN := $(VENV)/bin
# One thread a worker: small networks run slower on several, and two workers share.
PYTEST = OMP_NUM_THREADS=1 SCIPY_ARRAY_API=1 $(BIN)/python -m pytest -n 2

# A shared data folder beside the checkout, where there is one.
SKROBUST_DATA ?= $(wildcard $(CURDIR)/../shared/data)
ifneq ($(SKROBUST_DATA),)
export SKROBUST_DATA
endif

.PHONY: demo test test-oldest lint format doc bench clean

demo: $(VENV)/.ready
	$(BIN)/python examples/demo.py

test: $(VENV)/.ready
	$(PYTEST)

# Doctests stay out: NumPy 1 prints its scalars in another way.
test-oldest: BIN := $(VENV_OLDEST)/bin
test-oldest: $(VENV_OLDEST)/.ready
	$(PYTEST) tests

lint: $(VENV)/.ready-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/codespell

format: $(VENV)/.ready-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

doc: $(VENV)/.ready-docs
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -b html doc doc/_build/html

bench: $(VENV)/.ready-bench
	for script in benchmarks/bench_*.py; do $(BIN)/python "$$script" || exit 1; done

clean:
	rm -rf $(VENV) $(VENV_OLDEST) build dist *.egg-info
	rm -rf .coverage* .mypy_cache .pytest_cache .ruff_cache
	rm -rf doc/_build doc/auto_examples doc/generated doc/sg_execution_times.rst
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Environments. A stamp file says that one is complete, so a second call is fast.
# $(call venv,interpreter,folder) makes an empty one, or says what is missing.
define venv
@$(1) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
    echo "skrobust needs Python 3.11 or newer, and '$(1)' is not one:" \
        "name another as PYTHON (or PYTHON_OLDEST), as in" \
        "'make PYTHON=/path/to/python3.11'." >&2; exit 1; }
@$(1) -c 'import ensurepip, venv' 2>/dev/null || { \
    echo "'$(1)' cannot make environments:" \
        "on Debian and Ubuntu, 'apt install python3-venv' adds that." >&2; exit 1; }
@echo "Setting up $(2) (the first time takes a few minutes)"
$(1) -m venv $(2)
endef
INSTALL := -m pip --disable-pip-version-check install --quiet

$(VENV)/.ready: pyproject.toml constraints.txt
	$(call venv,$(PYTHON),$(VENV))
	$(BIN)/python $(INSTALL) -e '.[tests,plot]' -c constraints.txt
	@touch $@

$(VENV)/.ready-%: $(VENV)/.ready
	$(BIN)/python $(INSTALL) -e '.[$*]' -c constraints.txt
	@touch $@

$(VENV_OLDEST)/.ready: pyproject.toml constraints-oldest.txt
	$(call venv,$(PYTHON_OLDEST),$(VENV_OLDEST))
	$(VENV_OLDEST)/bin/python $(INSTALL) -e '.[tests]' -c constraints-oldest.txt
	@touch $@
