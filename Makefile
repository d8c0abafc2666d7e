# One command surface for people and CI. Needs Python 3.11 or later, make and git; everything else is fetched on the first run.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Named by the Python that made it: with another one everything is made anew.
TAG := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
# What the demo and the sandbox need; and the tools of tests and checks on top of it.
RUNS := $(VENV)/.runs-$(TAG)
STAMP := $(VENV)/.ready-$(TAG)
BENCHES := decode http_client scrape freshness throughput backlog observed dead_letters replay_plan replay_kills drain limits web reminders nightly lean rolling
PURE := tests/core tests/properties tests/model tests/simulation tests/rooms tests/contracts tests/chaos tests/behaviour/alone
# Each of two processes has a stack of its own: most of the time is waiting.
STACK := tests/integration tests/acceptance tests/browser tests/containers

.DEFAULT_GOAL := help
.PHONY: help setup demo test suite lint check bench soak behaviour simulate chaos alerts containers matrix manifests release foreign findings docs lock format clean

help: ## what there is
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

setup: $(STAMP) ## make .venv with everything, sandbox and demo included

$(RUNS): pyproject.toml sandbox/pyproject.toml requirements/demo.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "hlf-sync needs Python 3.11 or later; say which by: make PYTHON=python3.11 setup")'
	@test -z "$$(ls -d $(VENV)/lib/python* 2>/dev/null | grep -v '/python$(TAG)$$')" || { echo "$(VENV) was made by another Python: it is made anew"; rm -rf $(VENV); }
	@echo "$(VENV): a virtual environment of Python $(TAG)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python requirements/install.py requirements/demo.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . --editable sandbox
	@touch $@

$(STAMP): $(RUNS) requirements/dev.txt
	@$(BIN)/python requirements/install.py requirements/dev.txt
	@touch $@

demo: $(RUNS) ## see it work, in one terminal
	$(BIN)/hlf-sync demo

lint: $(STAMP) ## style, types (tests and benches too), import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check consumer sandbox tests deploy
	$(BIN)/mypy consumer/hlf_sync sandbox/hlf_sync_sandbox tests bench deploy/containers
	$(BIN)/lint-imports --no-cache

check: $(STAMP) ## the fast part: style, types, import rules, pure tests
	@$(MAKE) --no-print-directory lint
	$(BIN)/codespell consumer sandbox connectors docs README.md ARCHITECTURE.md
	$(BIN)/deptry consumer
	cd sandbox && ../$(BIN)/deptry .
	$(BIN)/pytest -q -n logical $(PURE)

test: $(STAMP) ## everything, on the real parts
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory suite WHAT="-n logical $(PURE)"
	@$(MAKE) --no-print-directory suite WHAT="-n 2 --dist loadfile --durations=15 $(STACK)"

suite: # one part of the tests, WHAT; what failed runs once more by itself
	$(BIN)/pytest -q $(WHAT) || { echo '== what failed, once more by itself: what passes now is flaky and needs mending'; \
	  $(BIN)/pytest -q --last-failed --last-failed-no-failures none; }

bench: $(STAMP) ## measure (about 15 minutes); prints ratios beside a peer or a limit
	@for script in $(BENCHES); do echo "== bench/$$script.py"; $(BIN)/python bench/$$script.py || exit 1; done

soak: $(STAMP) ## a day's pattern of changes on the real stack, scaled to HOURS=… (2); picture and table into OUT=… (docs)
	$(BIN)/python bench/soak.py --hours $(or $(HOURS),2) --out $(or $(OUT),docs)

behaviour: $(STAMP) ## every row of docs/behaviour.md on the real parts (fifteen minutes): when a part's version changes
	$(BIN)/pytest -q -m behaviour $(PURE) tests/integration
	$(BIN)/pytest -q -m behaviour tests/behaviour/stack

simulate: $(STAMP) ## the properties with new inputs, ten thousand simulated histories, for the night (a quarter of an hour); SEEDS=… FIRST=…
	$(BIN)/pytest -q -n logical --hypothesis-profile=default tests/properties
	$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),10000) --first $(or $(FIRST),1)

chaos: $(STAMP) ## ten minutes of random faults on the real stack, audited; MINUTES=… SEED=…
	$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

alerts: $(STAMP) ## twenty-one faults before a real Prometheus (a quarter of an hour; needs `prometheus`)
	HLF_SYNC_TEST_ALERTS=1 $(BIN)/pytest -q tests/integration/test_monitoring_alerts.py

containers: $(STAMP) ## build the images, bring docker-compose.yml up and try it (needs a Docker engine; base images are made where no hub answers)
	HLF_SYNC_TEST_CONTAINERS=1 $(BIN)/pytest -q -s -p no:randomly tests/containers

matrix: $(STAMP) ## the demo's story over other PostgreSQL, Kafka, Debezium, Python (half an hour; needs mvn; CELLS='kafka-4.4.0 …')
	$(BIN)/python -m tests.matrix $(CELLS)

manifests: $(STAMP) ## Kubernetes' own schemas and Strimzi's definitions over deploy/kubernetes (needs kubectl and mvn; downloads them)
	$(BIN)/python -m tests.kubernetes_schemas

release: $(STAMP) ## wheels, source archives, bill of materials and checksums of the last commit, in dist/
	.ci/release dist

foreign: $(STAMP) ## Microsoft's own clients against the emulator (downloads them into an environment of their own)
	HLF_SYNC_TEST_FOREIGN=1 $(BIN)/pytest -q tests/contracts/test_foreign_clients.py

findings: ## run each finding once (seven minutes; network to the Python index)
	@for script in $$(ls findings/*.sh | grep -v lab.sh); do echo "== $$script"; $$script || exit 1; done

docs: $(STAMP) ## print the generated pages anew
	$(BIN)/python -m hlf_sync.pages.errors > docs/errors.md
	$(BIN)/python -m hlf_sync.pages.metrics > docs/metrics.md
	$(BIN)/python -m hlf_sync.pages.rules > docs/rules.md
	$(BIN)/python -m hlf_sync.pages.settings > docs/settings.md
	$(BIN)/python -m hlf_sync.pages.asyncapi > docs/asyncapi.json
	$(BIN)/python -m hlf_sync.pages.data_contract > docs/data-contract.json
	$(BIN)/python -m hlf_sync.web.openapi > docs/openapi.json
	$(BIN)/python -m tests.requirements_page > docs/requirements.md
	$(BIN)/python -m tests.kubernetes_files

lock: ## renew requirements/*.txt (hashes, no addresses)
	$(BIN)/uv pip compile pyproject.toml sandbox/pyproject.toml --no-emit-package hlf-sync --all-extras --group dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -q -o requirements/dev.txt
	printf '%s\n' hatchling editables | $(BIN)/uv pip compile - pyproject.toml sandbox/pyproject.toml --no-emit-package hlf-sync --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -q -c requirements/dev.txt -o requirements/demo.txt
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -q -o requirements/run.txt
	printf '%s\n' hatchling jgo psutil | $(BIN)/uv pip compile - --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -q -c requirements/dev.txt -o requirements/images.txt
	$(BIN)/python -m tests.sbom

format: $(STAMP) ## format and fix what can be fixed
	$(BIN)/ruff format consumer sandbox tests deploy
	$(BIN)/ruff check --fix consumer sandbox tests deploy

clean: ## forget caches and the virtual environment
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
