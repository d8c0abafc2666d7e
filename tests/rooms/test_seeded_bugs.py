"""The bugs that can be put into the real worker still fit its code: a bug that no longer changes
anything would be found by nobody.
"""

import subprocess
import sys
from pathlib import Path

_PUT_IN_ALL = "from tests.fixtures.seeded_bugs import BUGS\nfor bug in BUGS.values(): bug()"
_RIG = (
    "from tests.fixtures import crash_points\nfrom pathlib import"
    " Path\ncrash_points.arm(Path('nowhere'))"
)


def test_each_seeded_bug_still_fits_the_code() -> None:
    """In a process of its own: they are for ever."""
    subprocess.run([sys.executable, "-c", _PUT_IN_ALL], check=True, cwd=Path(__file__).parents[2])


def test_each_crash_point_still_names_a_method() -> None:
    """A renamed method would leave a point that nobody passes."""
    subprocess.run([sys.executable, "-c", _RIG], check=True, cwd=Path(__file__).parents[2])
