# Everything runs in .venv, which any target makes on first use: `make demo`, `make test`, `make lint`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint format clean

demo: .venv/.ready
	$(BIN)/divita demo

# Two files of tests at a time; then, alone on the machine, what runs whole sweeps and kills their processes.
test: .venv/.ready
	$(BIN)/python -m pytest -n 2 --dist loadfile tests --ignore=tests/end_to_end --ignore=tests/faults --ignore=tests/benchmarks
	$(BIN)/python -m pytest tests/end_to_end tests/faults

lint: .venv/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/.ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# torch comes first and pinned: a plain `torch` asked for by another package may pull another build.
.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("divita needs Python 3.11 or later, but $(PYTHON) is " + sys.version.split()[0] + "; try make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else 0'
	@echo "Installing into .venv (about 7 GB, a few minutes) ..."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch torchvision
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
