"""English that anyone reads without stumbling: phrases that do not come back."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
# Printed from code that is looked at itself, or kept as they were written.
_NOT_OURS = {"requirements.md", "errors.md", "metrics.md", "settings.md", "openapi.json"}

_FORBIDDEN = {
    r"(?<!here )(?<!nor )\b(?:is|are) no (?!longer|such|news|reason|more\b|one\b|doubt|help)": (
        "'is not a …': 'is no' only after 'there'"
    ),
    r"nobody stands|stands? wrong": "'is shown wrongly'",
    r"[Ww]hosever": "'of whatever organisation', 'whoever owns it'",
    r"the hand alone": "name the part",
    r"burns? nobody|attempts are burnt": "'does not consume attempts'",
    r"[Ee]verybody who (?:is|waits|has)": "'every mentor that …', 'every worker that …'",
}


def _texts() -> Iterator[Path]:
    for folder in ("consumer", "sandbox"):
        yield from (_ROOT / folder).rglob("*.py")
        yield from (_ROOT / folder).rglob("*.md")
    for path in [*(_ROOT / "docs").rglob("*.md"), *_ROOT.glob("*.md")]:
        if path.name not in _NOT_OURS | {"CHANGELOG.md"}:
            yield path


@pytest.mark.parametrize("phrase", _FORBIDDEN)
def test_a_phrase_that_people_stumble_over_stands_nowhere(phrase: str) -> None:
    found = [
        f"{path.relative_to(_ROOT)}: …{text[max(0, hit.start() - 30) : hit.end() + 30]!r}…"
        for path in sorted(_texts())
        for text in [" ".join(path.read_text(encoding="utf-8").split())]
        for hit in re.finditer(phrase, text)
    ]
    assert found == [], _FORBIDDEN[phrase]
