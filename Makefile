# The same targets for people and for .ci/run. Tools come from .venv where there is one:
#     python3 -m venv .venv && .venv/bin/pip install -e '.[test]' ruff mypy

PYTHON ?= $(if $(wildcard .venv/bin/python),.venv/bin/python,python3)

.PHONY: check test torture fuzz bench man

check:
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy

test:
	$(PYTHON) -m pytest

# Each script answers one question with one ratio; these are what they share.
SHARED := $(addprefix benchmarks/,harness.py procfs.py taskman.py load_once.py ledger_rows.py)

# Longer than the ones in the tests: hundreds of kills, and ten thousand damaged ledgers, some of them salvaged; half an hour or so.
torture:
	$(PYTHON) tests/e2e/torture.py
	$(PYTHON) tests/fuzz/opened.py --cases 10000
	$(PYTHON) tests/fuzz/salvaged.py --cases 3000

# Longer than in the tests, and from other seeds: five minutes each.
fuzz:
	@set -e; for name in sockets commands jobfiles names ledgers salvaged; do \
		echo "== $$name"; $(PYTHON) tests/fuzz/$$name.py --seconds 300; \
	done

bench:
	@set -e; for script in $(filter-out $(SHARED),$(sort $(wildcard benchmarks/*.py))); do \
		echo "== $$script"; $(PYTHON) $$script; \
	done

man:
	@if command -v mandoc >/dev/null; then mandoc -Tlint -Wwarning man/taskman.1; \
	else echo "mandoc is not installed: man/taskman.1 was not linted"; fi
