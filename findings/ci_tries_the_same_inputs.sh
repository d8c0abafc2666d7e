#!/usr/bin/env bash
# Question: a property test of hypothesis runs in CI with every commit, ten times a day. Does each run try new inputs?
# Guess: yes: its inputs are drawn at random, so that a rare fault is found by one of the runs.
# What happens: where an environment variable says that this is CI (CI, GITHUB_ACTIONS, …), hypothesis loads its profile `ci` by itself:
#   derandomize=True, no database of failures, no deadline. The inputs are drawn from a hash of the test: each run tries the same
#   hundred, and a fault that they miss is never found, until the test's text changes. At a desk each run tries others. The option
#   --hypothesis-profile=default gives new inputs in CI, too.
# Versions: hypothesis 6.170.17, pytest 9.2.0.
# Seen: two runs with CI=true try one list of inputs, two without try two, two with CI=true and the option two.
source "$(dirname "$0")/lab.sh"
lab hypothesis==6.170.17 pytest==9.2.0
cd "$LAB"
cat > test_inputs.py <<'PY'
import json

from hypothesis import given, strategies

tried = []


@given(strategies.integers(), strategies.text())
def test_inputs(number, text):
    tried.append([number, text])


def test_afterwards():
    with open("tried.json", "w") as file:
        json.dump(tried, file)
PY
bin/python - <<'PY'
import json
import os
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

print("hypothesis", version("hypothesis"), "pytest", version("pytest"))


def different(env: dict[str, str], *options: str) -> int:
    """How many lists of inputs two runs try, each as in a fresh clone."""
    lists = set()
    for _ in range(2):
        shutil.rmtree(".hypothesis", ignore_errors=True)
        command = ["bin/python", "-m", "pytest", "-q", "test_inputs.py", *options]
        # None of the machine's own variables: one of them may say that this is CI.
        subprocess.run(command, env={"PATH": os.environ["PATH"], **env}, check=True, capture_output=True)
        tried = json.loads(Path("tried.json").read_text())
        assert len(tried) >= 50, len(tried)
        lists.add(json.dumps(tried))
    return len(lists)


found = {
    "with CI=true": different({"CI": "true"}),
    "without": different({}),
    "with CI=true and the option": different({"CI": "true"}, "--hypothesis-profile=default"),
}
print("lists of inputs in two runs:", found)
assert list(found.values()) == [1, 2, 2], found
PY
