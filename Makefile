# make run    from product images to a validated prediction file (DATA, OUT, MODEL as below; ARGS="--rows 1000" ...)
# make test   the whole test suite
# make test-ray   what needs Ray (requirements-ray.txt), which it installs; from then on make test does it, too
# make lint   ruff and mypy
# make bench-preprocess   speed of preprocess.py beside the reference loop
# make bench-ray   preprocess.py over Ray beside the local processes, on DATA; memory of the process that starts the work
# make bench-reading   recall, F1 by rules and audit on DATA, against OUT/processed
# make bench-train   speed and memory of training beside the official notebook's way, same folders
# make bench-infer   speed of answering beside a plain loop, same folders
# make bench-gpu   everything about a GPU at idefics2-8b's size, into benchmarks/gpu.json and benchmarks/README.md
# make rehearse   what a first run of idefics2-8b does, at full size with random weights, here (34 GB of disk; half an hour without a GPU)
# make results   every figure of the results in benchmarks/README.md, on DATA with gold_dev.csv, after make run (same DATA and OUT)
# make pictures   the README's pictures, from a fresh run on the sample data
# make notebooks   execute both notebooks on the sample data, in place of the committed ones (remove outputs/ first)
DATA ?= data/sample
OUT ?= outputs
MODEL ?= data/idefics2-tiny
ARGS ?=
PYTHON ?= python3

VENV := .venv
PY := $(VENV)/bin/python

.PHONY: run test test-ray lint notebooks bench-preprocess bench-ray bench-reading bench-train bench-infer bench-gpu rehearse results pictures

run: $(VENV)/.run
	$(PY) -m src.run --data "$(DATA)" --out "$(OUT)" --model "$(MODEL)" $(ARGS)

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-ray: $(VENV)/.ray
	OMP_NUM_THREADS=1 $(PY) -m pytest tests/prepare/test_ray_backend.py tests/prepare/test_sharding.py

lint: $(VENV)/.dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

notebooks: $(VENV)/.run
	$(PY) -m src.run
	cp outputs/training.ipynb outputs/inference.ipynb .

pictures: $(VENV)/.dev
	rm -rf outputs/pictures
	$(PY) -m src.run --out outputs/pictures
	$(PY) -m benchmarks.pictures --out outputs/pictures

bench-preprocess: $(VENV)/.run
	$(PY) -m benchmarks.preprocess --data "$(DATA)"

bench-ray: $(VENV)/.ray
	$(PY) -m benchmarks.spread --data "$(DATA)"

bench-reading: $(VENV)/.run
	$(PY) -m benchmarks.reading --data "$(DATA)" --out "$(OUT)"

bench-infer: $(VENV)/.run
	$(PY) -m benchmarks.inference --data "$(DATA)" --out "$(OUT)"

results: $(VENV)/.run
	$(PY) -m benchmarks.results --data "$(DATA)" --out "$(OUT)" --model "$(MODEL)"

bench-gpu: $(VENV)/.run
	$(PY) -m benchmarks.gpu --data "$(DATA)" --out "$(OUT)"

rehearse: $(VENV)/.run
	$(PY) -m benchmarks.rehearse --data "$(DATA)" --out "$(OUT)/rehearsal"

bench-train: $(VENV)/.run
	$(PY) -m benchmarks.training --data "$(DATA)" --out "$(OUT)"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "error: $(PYTHON) is not Python 3.11 or newer; install one and run make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.txt $(VENV)/bin/python
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

$(VENV)/.ray: requirements-ray.txt $(VENV)/.dev
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-ray.txt
	@touch $@
