"""One wave of chaos on the shared stack, with a fixed seed: `make chaos` is the long one."""

import os
from pathlib import Path

import pytest
from hlf_sync_sandbox.stack import Sandbox

from tests.chaos.run import Plan, as_json, run
from tests.chaos.wave import Lengths

_SEED = int(os.environ.get("HLF_SYNC_TEST_CHAOS_SEED", "20"))


@pytest.mark.stack
@pytest.mark.timeout(300)
@pytest.mark.requirement("R01")
@pytest.mark.requirement("R02")
@pytest.mark.requirement("R07")
@pytest.mark.requirement("R40")
@pytest.mark.requirement("R45")
def test_a_wave_of_chaos_breaks_no_invariant(stack: Sandbox, tmp_path: Path) -> None:
    """Nothing lost, nothing stale, nobody else's, no personal datum; HLF_SYNC_TEST_CHAOS_SEED names
    another seed.
    """
    outcome = run(
        stack, tmp_path, Plan(_SEED, seconds=0, every_s=0.6, lengths=Lengths(storm_s=10, calm_s=4))
    )
    assert outcome.is_clean, f"seed {_SEED}; what it left is in {tmp_path}\n{as_json(outcome)}"
    assert outcome.struck >= 8
    assert outcome.findings.calls >= 50
