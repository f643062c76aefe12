# Every target works from a clean clone: it makes .venv and installs into it first. `make help` lists them.

# A name that is on the PATH may still not start (version managers' shims), so each is tried. 3.11 is what the pins were made with.
ifndef PYTHON
PYTHON := $(shell for name in python3.11 python3.12 python3.13 python3.10 python3; do "$$name" -c "" 2>/dev/null && echo "$$name" && break; done)
endif
# Each process of the tests would compile linkspan, and pytest the tests, anew.
unexport PYTHONDONTWRITEBYTECODE
VENV := .venv
BENCH_VENV := .venv-bench
RUN := $(VENV)/bin
SETUP_INPUTS := pyproject.toml packages/linkspan-sandbox/pyproject.toml constraints.txt scripts/setup_venv.py

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint types pytest matrix ecosystem format cassettes catalogue bench docs release-check clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/.installed-demo: $(SETUP_INPUTS)
	@test -n "$(PYTHON)" || { echo "No python3 was found: install Python 3.11 (Debian: sudo apt-get install python3 python3-venv)"; exit 1; }
	@"$(PYTHON)" scripts/setup_venv.py demo --venv $(VENV)

# The dev set contains the demo's, so one install serves both.
$(VENV)/.installed-dev: $(SETUP_INPUTS)
	@test -n "$(PYTHON)" || { echo "No python3 was found: install Python 3.11 (Debian: sudo apt-get install python3 python3-venv)"; exit 1; }
	@"$(PYTHON)" scripts/setup_venv.py dev --venv $(VENV)
	@touch $(VENV)/.installed-demo

demo: $(VENV)/.installed-demo ## run a real model on this machine through both frameworks; no key or account needed
	@$(RUN)/linkspan demo

test: lint types pytest ## lint, types and all tests

lint: $(VENV)/.installed-dev ## check format and lint
	@$(RUN)/ruff format --check .
	@$(RUN)/ruff check .

types: $(VENV)/.installed-dev ## strict type check
	@$(RUN)/mypy src/linkspan packages/linkspan-sandbox/src/linkspan_sandbox examples/*.py examples/fastapi_stream/app.py tests

# The tests reach no network, so the local model's weights are fetched before them; at once done where they are there.
pytest: $(VENV)/.installed-dev ## run the tests and check branch coverage of transport and codecs (SLOWEST=20 lists slow ones)
	@$(RUN)/python scripts/fetch_weights.py
	@$(RUN)/python -m tests.examples.browser || test "$(LINKSPAN_BROWSER_REQUIRED)" != 1
	@$(RUN)/python -m pytest -n auto --dist worksteal --branches $(if $(SLOWEST),--durations=$(SLOWEST))
	@$(RUN)/python scripts/check_coverage.py

# On the Python of .venv. By hand on another: .venv/bin/nox -s lowest newest -p 3.13
matrix: $(VENV)/.installed-dev ## run a part of the tests on the lowest and newest versions that pyproject.toml allows
	$(RUN)/nox -s lowest newest --force-python $(abspath $(RUN)/python)

# On the Python of .venv, from 3.11 on, which langchain-core 1.8 needs.
ecosystem: $(VENV)/.installed-dev ## test third-party components over linkspan's classes (docs/ecosystem.md)
	$(RUN)/nox -s ecosystem --force-python $(abspath $(RUN)/python)

format: $(VENV)/.installed-dev ## format the code and apply the linter's fixes
	$(RUN)/ruff format .
	$(RUN)/ruff check --fix .

cassettes: $(VENV)/.installed-dev ## record the cassettes again, from servers on this machine (docs/cassettes.md)
	$(RUN)/python scripts/record_cassettes.py $(if $(ENGINE),--engine $(ENGINE)) $(if $(LIVE),--live $(LIVE))

catalogue: $(VENV)/.installed-dev ## refresh what is known of Scaleway's models; needs the network, no key
	$(RUN)/python scripts/refresh_catalogue.py

release-check: ## build both distributions, check them, and try them in clean environments of each Python
	@test -n "$(PYTHON)" || { echo "No python3 was found: install Python 3.11 (Debian: sudo apt-get install python3 python3-venv)"; exit 1; }
	@"$(PYTHON)" scripts/release_check.py

# In an environment of its own: the packages that it is compared with want other versions than the tests do.
bench: $(BENCH_VENV)/.installed-bench ## measure CPU and memory beside other packages (ONLY=streams,calls; docs/benchmarks.md)
	$(BENCH_VENV)/bin/python -m benchmarks $(if $(ONLY),--only $(ONLY),--save)

$(VENV)/.installed-docs: $(SETUP_INPUTS)
	@test -n "$(PYTHON)" || { echo "No python3 was found: install Python 3.11 (Debian: sudo apt-get install python3 python3-venv)"; exit 1; }
	@"$(PYTHON)" scripts/setup_venv.py docs --venv $(VENV)

docs: $(VENV)/.installed-docs ## build the documentation into build/docs
	NO_MKDOCS_2_WARNING=1 $(RUN)/mkdocs build --strict

$(BENCH_VENV)/.installed-bench: $(SETUP_INPUTS)
	@test -n "$(PYTHON)" || { echo "No python3 was found: install Python 3.11 (Debian: sudo apt-get install python3 python3-venv)"; exit 1; }
	@"$(PYTHON)" scripts/setup_venv.py bench --venv $(BENCH_VENV)

clean: ## remove the environment and caches
	rm -rf $(VENV) $(BENCH_VENV) .nox .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage htmlcov build dist
