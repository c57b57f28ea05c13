# make app opens the page; make test passes the tests. Each makes the environment it needs on its first run.
PYTHON ?= python3
VENV ?= .venv
LITE ?= .venv-lite
LOWEST ?= .venv-lowest

.PHONY: app dashboard train test test-lowest audit fuzz lint format bench clean

app: $(LITE)/.ready
	$(LITE)/bin/python app.py $(ARGS)

dashboard: $(VENV)/.ready
	$(VENV)/bin/python -m streamlit run streamlit_app.py $(ARGS)

train: $(VENV)/.ready
	$(VENV)/bin/python -m training.train $(ARGS)

test: $(VENV)/.ready
	$(VENV)/bin/python -m pytest $(ARGS)

# The lowest versions that the requirements allow, in an environment of their own.
test-lowest: $(LOWEST)/.ready
	$(LOWEST)/bin/python -m pytest $(ARGS)

audit: $(VENV)/.ready
	$(VENV)/bin/python -m benchmarks.dependencies --audit

fuzz: $(VENV)/.ready
	KV_FUZZ_EXAMPLES=20000 $(VENV)/bin/python -m pytest tests/fuzz $(ARGS)

lint: $(VENV)/.ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/oxlint webapp/assets

format: $(VENV)/.ready
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(VENV)/.ready
	$(VENV)/bin/python -m benchmarks.pipeline $(ARGS)

# Each .ready is written last, so that an interrupted install starts over.
$(LITE)/.ready: requirements-lite.txt
	$(PYTHON) -m venv $(LITE)
	$(LITE)/bin/python -m pip install --disable-pip-version-check --quiet -r requirements-lite.txt
	touch $@

$(VENV)/.ready: requirements-dev.txt requirements.txt requirements-lite.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check --quiet -r requirements-dev.txt
	touch $@

$(LOWEST)/.ready: requirements-dev.txt requirements.txt requirements-lite.txt
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --disable-pip-version-check --quiet uv
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct -r requirements-dev.txt
	touch $@

clean:
	rm -rf $(VENV) $(LITE) $(LOWEST) .pytest_cache .mypy_cache .ruff_cache
