"""`hlf-sync rehearse`: what other rules would remove and restore, before anything does. Thin."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from hlf_sync import operate
from hlf_sync.commands.options import EnvFile, Json, settings_from
from hlf_sync.commands.terminal import Terminal, echo_json
from hlf_sync.config import policies
from hlf_sync.config.settings import Settings
from hlf_sync.core import cause_words
from hlf_sync.core.decide import Rules
from hlf_sync.core.mass_removal import removals_allowed
from hlf_sync.core.model import Visibility
from hlf_sync.core.rehearsal import RuleEffect, effect_of
from hlf_sync.errors import SettingsError
from hlf_sync.postgres.population import read_everybody

_out = Terminal(highlight=False, soft_wrap=True)
_A_SCREENFUL = 20
_SETS = ("hidden_statuses", "visible_statuses", "silent_statuses")
_WORDS = {
    RuleEffect.REMOVED: "would be taken off the listing",
    RuleEffect.RESTORED: "would be put on the listing",
    RuleEffect.REFUSED: "would become dead letters (a status of no known meaning), shown or hidden as they are",
    RuleEffect.ACCEPTED: "are refused now and would be understood, with no call",
}


def rehearse(
    rules_file: Annotated[
        Path,
        typer.Option(
            "--rules",
            metavar="FILE",
            help="JSON with any of organization, visible_statuses, hidden_statuses,"
            " silent_statuses; what it leaves out stays as it is.",
            show_default=False,
        ),
    ],
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Decide for every mentor by the rules of now and by those of FILE, and show who would change.

    Reads PostgreSQL, changes nothing, calls nobody. Example of a file:
    `{"visible_statuses": ["active", "reinstated", "sabbatical"]}`.

    Another organisation code also needs the publication's row filter (connectors/sql/02_source.sql)
    and HLF_SYNC_ORGANIZATION.

    Exit codes: 0 · 2 a file of other content · 4 PostgreSQL cannot be reached.
    """
    settings = settings_from(env_file)
    rules = Rules(organization=settings.organization)
    others = _read(rules_file, rules)
    with operate.connected(settings) as connection:
        now_s, everybody = read_everybody(connection)
    found: dict[RuleEffect, list[str]] = {effect: [] for effect in RuleEffect}
    unmapped, listed = 0, 0
    for mentor_id, known in everybody:
        listed += known.ledger.applied is Visibility.VISIBLE
        effect = effect_of(known.facts, known.ledger, now_s, rules=rules, others=others)
        if effect is not None:
            found[effect].append(mentor_id)
            unmapped += known.contact_id is None
    answer = {
        "mentors": len(everybody),
        "listed": listed,
        "counts": {effect.value: len(ids) for effect, ids in found.items()},
        "without_contact": unmapped,
        "removals_allowed_at_once": _allowed(settings, listed),
        **{effect.value: ids for effect, ids in found.items()},
    }
    if as_json:
        echo_json(answer)
    else:
        _show(found, answer)


def _show(found: dict[RuleEffect, list[str]], answer: dict[str, Any]) -> None:
    if not any(found.values()):
        _out.print(f"nothing would change for any of {answer['mentors']:,} mentors")
    for effect, mentor_ids in found.items():
        if mentor_ids:
            _out.print(Text.assemble((f"{len(mentor_ids):,}", "bold"), f" {_WORDS[effect]}"))
            for mentor_id in mentor_ids[:_A_SCREENFUL]:
                _out.print(f"  {mentor_id}")
            if len(mentor_ids) > _A_SCREENFUL:
                _out.print(f"  … and {len(mentor_ids) - _A_SCREENFUL:,} more (--json has all)")
    allowed = answer["removals_allowed_at_once"]
    if allowed is not None and len(found[RuleEffect.REMOVED]) > allowed:
        _out.print(
            Text(
                f"Of {answer['listed']:,} shown mentors the mass change guard lets {allowed:,}"
                " go at once; the others would wait for `hlf-sync confirm-removals`.",
                style="yellow",
            )
        )
    if answer["without_contact"]:
        _out.print(f"{answer['without_contact']:,} of them have no contact.")


def _allowed(settings: Settings, listed: int) -> int | None:
    """How many removals the guard lets through; None when it is off."""
    policy = policies.ledger_policy(settings, "rehearse").mass_removal
    return removals_allowed(policy, removed=0, listed=listed) if policy.is_on else None


def _read(file: Path, rules: Rules) -> Rules:
    """The rules of the file, on top of those of now. Raises `SettingsError`."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"--rules {file}: cannot be read ({cause_words.of(error)})") from None
    if not isinstance(found, dict):
        raise SettingsError(f"--rules {file}: not a JSON object")
    if unknown := sorted(set(found) - {"organization", *_SETS}):
        raise SettingsError(
            f"--rules {file}: {unknown[0]} is unknown; known are organization, {', '.join(_SETS)}"
        )
    values: dict[str, Any] = {name: getattr(rules, name) for name in ("organization", *_SETS)}
    for name, value in found.items():
        is_text = name == "organization" and isinstance(value, str) and value
        is_set = name in _SETS and isinstance(value, list) and all(map(_is_word, value))
        if not (is_text or is_set):
            raise SettingsError(f"--rules {file}: {name} must be {_kind(name)}")
        values[name] = value if is_text else frozenset(value)
    if both := values["visible_statuses"] & values["hidden_statuses"]:
        raise SettingsError(f"--rules {file}: {min(both)} is both visible and hidden")
    return Rules(**values)


def _is_word(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _kind(name: str) -> str:
    return "a text" if name == "organization" else "a list of texts"


def mount(app: typer.Typer) -> None:
    """Add the command."""
    app.command("rehearse", rich_help_panel="Look")(rehearse)
