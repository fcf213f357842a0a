# make demo   sets everything up and reads an example ECG
# make test   sets everything up and runs the whole suite
# make fuzz   50,000 damaged files through the readers, for the night

PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python

.PHONY: demo test fuzz
demo: $(VENV)/.installed
	$(RUN) examples/read_ecg.py examples/ecgs/right_bundle_branch_block --output out/demo.png

test: $(VENV)/.installed
	$(RUN) -m pytest tests

fuzz: $(VENV)/.installed
	HEARTCARE_FUZZ=50000 $(RUN) -m pytest tests/agent/test_fuzz.py -s

# torch comes first: the constraints pin the CPU build where there is one.
$(VENV)/.installed: setup.py pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --constraint constraints.txt torch
	$(RUN) -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	touch $@
