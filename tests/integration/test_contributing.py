"""CONTRIBUTING.md names files, targets and sections that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
#: Paths begin in one of these.
PLACES = (ROOT, ROOT / "taskman_cli")
CI = (ROOT / ".ci" / "run").read_text("utf-8")


def test_every_path_exists() -> None:
    named = set(re.findall(r"\b((?:tests|benchmarks|docs|scheduler|cli)/[\w./]*)", TEXT))
    named |= set(re.findall(r"\]\((?!http)([^)#]+)\)", TEXT))
    assert len(named) > 15
    assert [path for path in sorted(named) if not any((base / path).exists() for base in PLACES)] == []


def test_every_target_is_in_the_makefile() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    named = set(re.findall(r"(?:`|^)make (\w+)(?:`| +#)", TEXT, re.M))
    assert len(named) > 4
    assert named - targets == set()


def test_every_section_of_ci_is_described_and_can_be_run() -> None:
    described = re.findall(r"^#     (\w+) +\S", CI.split("set -euo")[0].split("# Sections")[1], re.M)
    assert len(described) == 6
    assert re.findall(r"^\(\(\$#\)\) \|\| set -- (.*)$", CI, re.M) == [" ".join(described)]
    for line in re.findall(r"\.ci/run ([a-z][a-z ]*)`", TEXT):
        assert set(line.split()) <= set(described)
