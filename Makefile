# One word each. On a fresh machine with Python 3.11, git and a compiler each does its own set-up in .venv.
PYTHON ?= python3.11
# Wheel index for torch. CPU users: make test TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
PIP_TORCH = $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX),)
BIN = .venv/bin
STUDY = out/phantoms

.PHONY: report demo test test-all check fix demo-weights clean

$(BIN)/.installed: pyproject.toml constraints.txt
	command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found; install Python 3.11 or say make PYTHON=python3"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet $(PIP_TORCH) -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e '.[cpu,train,dev]'
	touch $@

$(STUDY): $(BIN)/.installed
	$(BIN)/prima phantom $(STUDY) --studies 1 --seed 7 --diagnosis high_grade_glioma

report: $(STUDY)        ## a phantom study is made, read, encoded, compared and reported
	$(BIN)/prima report $(STUDY)

demo: $(BIN)/.installed ## the page, on http://127.0.0.1:7860
	$(BIN)/prima demo

# A test process a core, at most four for the memory's sake; each computes in one thread, or they fight for the cores.
TEST = $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal
test test-all: export OMP_NUM_THREADS = 1
test test-all: export OPENBLAS_NUM_THREADS = 1

test: $(BIN)/.installed ## offline, on CPU, ten minutes or less
	$(TEST)

test-all: $(BIN)/.installed
	$(TEST) -m ''

check: $(BIN)/.installed
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_boundaries.py

fix: $(BIN)/.installed
	$(BIN)/ruff check --fix .

demo-weights: $(BIN)/.installed ## train everything that ships, from nothing; stages are cached and resume
	$(BIN)/prima train demo

clean:
	rm -rf .venv out runs build dist
