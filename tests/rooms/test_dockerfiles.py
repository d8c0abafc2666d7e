"""The Dockerfiles by the rules that hadolint checks, and some of ours; no engine is needed."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = ["Dockerfile", "deploy/kubernetes/connect.Dockerfile"]


@dataclass(frozen=True)
class Line:
    """An instruction and what follows it."""

    word: str
    rest: str


@dataclass(frozen=True)
class Stage:
    """What stands between one FROM and the next."""

    base: str
    name: str
    lines: list[Line]

    def last(self, word: str) -> str | None:
        """What its last instruction of this kind says."""
        return next((one.rest for one in reversed(self.lines) if one.word == word), None)


def _lines(path: str) -> list[Line]:
    text = (ROOT / path).read_text(encoding="utf-8")
    without = "\n".join(one for one in text.splitlines() if not one.lstrip().startswith("#"))
    whole = re.sub(r"\\\n", " ", without)
    found = [one.strip().split(None, 1) for one in whole.splitlines() if one.strip()]
    return [Line(word, rest) for word, rest in found]


def _arguments(path: str) -> dict[str, str]:
    """Those before the first FROM; one without a default has to be given."""
    found = [one.rest.partition("=") for one in _lines(path) if one.word == "ARG"]
    return {name: value for name, _, value in found}


def _stages(path: str) -> list[Stage]:
    stages: list[Stage] = []
    for line in _lines(path):
        if line.word == "FROM":
            base, _, name = line.rest.partition(" AS ")
            stages.append(Stage(base, name, []))
        elif stages:
            stages[-1].lines.append(line)
    return stages


def _user(path: str, stage: Stage) -> str | None:
    """Its own, or that of the stage that it goes on from."""
    named = {one.name: one for one in _stages(path)}
    own = stage.last("USER")
    return own if own or stage.base not in named else _user(path, named[stage.base])


@pytest.mark.parametrize("path", FILES)
def test_every_base_is_a_stage_before_it_or_a_pinned_image(path: str) -> None:
    """DL3006, DL3007: a tag, and not `latest`. What has no default is the builder's to name."""
    defaults, before = _arguments(path), set[str]()
    for stage in _stages(path):
        if stage.base not in before:
            argument = re.fullmatch(r"\$\{(\w+)\}", stage.base)
            assert argument, f"{stage.base}: let it be chosen by an argument"
            image = defaults[argument[1]]
            assert not image or re.fullmatch(r"[^:]+:(?!latest)[\w.-]+(@sha256:\w+)?", image), image
        before.add(stage.name)


@pytest.mark.parametrize("path", FILES)
def test_what_is_copied_comes_from_a_stage_before(path: str) -> None:
    """DL3022; and files are copied, never added (DL3020), which would fetch and unpack."""
    before: set[str] = set()
    for stage in _stages(path):
        for line in stage.lines:
            assert line.word != "ADD"
            if line.word == "COPY" and (source := re.match(r"--from=(\S+)", line.rest)):
                assert source[1] in before, line
        before.add(stage.name)


@pytest.mark.parametrize("path", FILES)
def test_programs_are_started_without_a_shell_and_once(path: str) -> None:
    """DL3025, DL4003, DL4004: a shell in between would keep SIGTERM to itself."""
    for stage in _stages(path):
        for word in ("CMD", "ENTRYPOINT"):
            said = [one.rest for one in stage.lines if one.word == word]
            assert len(said) <= 1
            assert all(isinstance(json.loads(one), list) for one in said)
        check = stage.last("HEALTHCHECK") or "NONE"
        assert check == "NONE" or json.loads(check.split("CMD", 1)[1])[0] != "sh"


@pytest.mark.parametrize("path", FILES)
def test_nothing_is_fetched_past_the_lock_files(path: str) -> None:
    """No package manager of the system, no download, no root by the back door (DL3004)."""
    forbidden = r"\b(apt|apt-get|apk|yum|curl|wget|sudo|npm)\b|https?://"
    for line in _lines(path):
        if line.word == "RUN":
            assert re.search(forbidden, line.rest) is None, line


@pytest.mark.parametrize("path", FILES)
def test_folders_are_absolute_and_users_are_numbers(path: str) -> None:
    """DL3000; a number lets Kubernetes see that it is not root (DL3002)."""
    for stage in _stages(path):
        for line in stage.lines:
            if line.word == "WORKDIR":
                assert line.rest.startswith("/")
            if line.word == "USER":
                assert re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", line.rest), line


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("Dockerfile", "worker"),
        ("Dockerfile", "sandbox"),
        ("Dockerfile", "connect"),
        ("deploy/kubernetes/connect.Dockerfile", ""),
    ],
)
def test_what_is_built_ends_as_somebody_who_is_not_root(path: str, target: str) -> None:
    """Its last USER, its own or of the stage below."""
    stage = next(one for one in reversed(_stages(path)) if one.name == target)
    assert _user(path, stage) not in {None, "0", "0:0", "root"}


def test_what_the_builder_is_sent_is_enough_and_no_secret() -> None:
    """.dockerignore lets in by name, and every file that is copied lies in one of these."""
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert next(one for one in rules if one and not one.startswith("#")) == "*"
    let_in = {one[1:] for one in rules if one.startswith("!")}
    for stage in _stages("Dockerfile"):
        for line in stage.lines:
            if line.word == "COPY" and not line.rest.startswith("--from"):
                for source in line.rest.split()[:-1]:
                    assert (ROOT / source).exists(), source
                    assert any(source == one or source.startswith(f"{one}/") for one in let_in)
