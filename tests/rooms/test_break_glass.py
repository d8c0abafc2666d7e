"""Break-glass (R64): a roster while PostgreSQL is there, calls while nothing is, and a ledger that
agrees afterwards.
"""

import asyncio
import json
import os
import pty
import random
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hlf_sync import DynamicsError, open_portal
from hlf_sync.break_glass.roster import KEPT, export_roster, leave_newest, read_roster
from hlf_sync.clock import epoch_ms
from hlf_sync.config.settings import Settings
from hlf_sync_sandbox.dynamics.control import DynamicsControl
from hlf_sync_sandbox.dynamics.launch import running_emulator

from tests.fixtures.break_glass import Glass, contact_of
from tests.fixtures.cluster import Cluster

pytestmark = [pytest.mark.postgres, pytest.mark.requirement("R64")]


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DynamicsControl]:
    with running_emulator(tmp_path_factory.mktemp("dynamics")) as control:
        control.unlimited()
        yield control


@pytest.fixture
def glass(
    cluster: Cluster, database: str, emulator: DynamicsControl, tmp_path: Path
) -> Iterator[Glass]:
    emulator.delete_contacts()
    with emulator:
        emulator.unlimited()
        yield Glass(cluster.dsn(database), cluster.dsn(database, "hlf_sync"), emulator, tmp_path)


def settings(glass: Glass) -> Settings:
    found = glass.dynamics.settings
    names = ("base_url", "authority", "tenant_id", "client_id", "client_secret", "ca_file")
    dynamics = {f"dynamics_{name}": found[name] for name in names}
    return Settings.model_validate(
        {
            "postgres_dsn": glass.sync_dsn,
            "pace_requests_per_s": 10_000,
            "late_effect_s": 0,
            **dynamics,
        }
    )


async def deliver_all(glass: Glass, wanted: Mapping[str, bool]) -> None:
    """What workers would do: facts, claim, call, record."""
    async with open_portal(settings(glass)) as portal:
        for mentor_id, is_shown in wanted.items():
            await portal.update_portal_visibility(mentor_id, visible=is_shown)


def test_the_roster_says_what_the_workers_would_deliver_and_names_nobody(glass: Glass) -> None:
    listed = glass.mentors(2, "active", applied="visible", shown=True)
    paused = glass.mentors(2, "paused", applied="visible", shown=True)
    unknown = glass.mentors(1, "sabbatical", applied="visible", shown=True)
    glass.sql("UPDATE app.mentor SET full_name = 'Kari Nordmann', email = 'kari@example.org'")
    ended = glass.export()
    assert ended.code == 0, ended.err
    roster = read_roster(glass.roster)
    found = {entry.mentor_id: entry.shown.value for entry in roster.entries}
    assert found == dict.fromkeys(listed, "visible") | dict.fromkeys(paused, "hidden")
    assert roster.skipped == len(unknown)
    assert glass.roster.stat().st_mode & 0o777 == 0o600
    text = glass.roster.read_text()
    assert "Nordmann" not in text and "kari" not in text
    assert str(glass.dynamics.settings["client_secret"]) not in text


def test_a_former_contact_and_a_mentor_who_is_gone_are_hidden(glass: Glass) -> None:
    moved, gone = glass.mentors(2, "active", applied="visible", shown=True)
    new = "6f1a1f3c-0000-4000-8000-00000000abcd"
    glass.sql(
        "UPDATE hlf_sync.contact_mapping SET contact_id = %s WHERE mentor_id = %s", new, moved
    )
    glass.sql("DELETE FROM app.mentor WHERE id = %s", gone)
    export_roster(settings(glass), glass.roster)
    found = {entry.contact_id: entry.shown.value for entry in read_roster(glass.roster).entries}
    assert found == {contact_of(moved): "hidden", new: "visible", contact_of(gone): "hidden"}


def test_a_roster_that_was_edited_is_refused(glass: Glass) -> None:
    glass.mentors(2, "active", applied="visible", shown=True)
    glass.export()
    glass.roster.write_text(glass.roster.read_text().replace('"visible"', '"hidden"', 1))
    ended = glass.apply("--yes")
    assert ended.code == 2
    assert "edited" in ended.err
    assert not glass.journal.exists()


def test_an_old_roster_is_warned_about_and_certificates_that_ended_since_hide(
    glass: Glass,
) -> None:
    (mentor_id,) = glass.mentors(1, "active", applied="visible", shown=True)
    past = datetime.fromtimestamp(epoch_ms() / 1000, UTC) - timedelta(days=3)
    glass.sql(
        "UPDATE app.certification SET expires_at = now() + interval '1 s' WHERE mentor_id = %s",
        mentor_id,
    )
    roster = export_roster(settings(glass), glass.roster)
    assert roster.entries[0].until_ms is not None
    old = roster.body() | {"as_of": past.isoformat(timespec="milliseconds")}
    old["entries"][0]["until"] = (past + timedelta(days=1)).isoformat(timespec="milliseconds")
    glass.roster.write_text(json.dumps(old | {"sha256": sha256_of(old)}))
    ended = glass.apply("--yes", "--json")
    assert ended.code == 0, ended.err
    assert "72 h old" in ended.err
    assert ended.content["plan"]["certificate_ended_since"] == 1
    assert glass.shown([mentor_id]) == {mentor_id: False}


def sha256_of(body: dict[str, object]) -> str:
    from hlf_sync.break_glass.roster import _sha256  # noqa: PLC0415 - makes a roster of another age

    return _sha256(body)


def test_the_folder_keeps_the_newest_seven(glass: Glass, tmp_path: Path) -> None:
    folder = tmp_path / "rosters"
    folder.mkdir()
    for day in range(1, 10):
        (folder / f"roster-2025010{day}T023000Z.json").write_text("{}")
    newest = leave_newest(settings(glass), folder)
    kept = sorted(folder.iterdir())
    assert len(kept) == KEPT
    assert kept[-1] == newest
    assert newest.stat().st_mode & 0o777 == 0o600


def test_three_are_hidden_and_one_is_shown_with_a_roster_and_credentials_alone(
    glass: Glass,
) -> None:
    listed = glass.mentors(5, "active", applied="visible", shown=True)
    (hidden,) = glass.mentors(1, "paused", applied="hidden", shown=False)
    glass.export()
    orders = [option for one in listed[:3] for option in ("--hide", one)]
    ended = glass.apply(*orders, "--show", hidden, "--reason", "HLF has called", "--yes")
    assert ended.code == 0, ended.err
    expected = dict.fromkeys(listed[:3], False) | dict.fromkeys(listed[3:], True) | {hidden: True}
    assert glass.shown([*listed, hidden]) == expected
    assert glass.calls(listed[4]) == []
    begin = glass.lines()[0]
    assert begin["reason"] == "HLF has called"
    assert begin["by"]
    # A later run of the whole roster keeps to what was ordered.
    assert glass.apply("--yes").code == 0
    assert glass.shown([*listed, hidden]) == expected


def test_somebody_whom_the_roster_does_not_know_is_a_mistake_and_nothing_is_called(
    glass: Glass,
) -> None:
    glass.mentors(1, "active", applied="visible", shown=True)
    glass.export()
    ended = glass.apply("--hide", "6f1a1f3c-0000-4000-8000-00000000dead", "--yes")
    assert ended.code == 2
    assert glass.lines() == []


def test_removals_only_shows_nobody(glass: Glass) -> None:
    paused = glass.mentors(2, "paused", applied="visible", shown=True)
    active = glass.mentors(2, "active", applied="hidden", shown=False)
    glass.export()
    assert glass.apply("--removals-only", "--yes").code == 0
    assert not any(glass.shown([*paused, *active]).values())


def test_refused_credentials_stop_it_and_are_exit_code_3(glass: Glass) -> None:
    glass.mentors(20, "paused", applied="visible", shown=True)
    glass.export()
    env = glass.credentials() | {"HLF_SYNC_DYNAMICS_CLIENT_SECRET": "wrong"}
    ended = glass.apply("--yes", env=env)
    assert ended.code == 3
    assert "refuses the credentials" in ended.err
    assert "wrong" not in ended.err + ended.out + glass.journal.read_text()
    assert glass.apply("--yes").code == 0


def test_a_contact_that_is_gone_is_told_of_and_asked_for_once(glass: Glass) -> None:
    one, other = glass.mentors(2, "paused", applied="visible", shown=True)
    glass.export()
    glass.dynamics.delete_contacts([contact_of(one)])
    for _ in range(2):
        ended = glass.apply("--yes", "--json")
        assert ended.code == 3
        assert json.loads(ended.out)["refused"] == [one]
    assert len(glass.calls(one)) == 1
    assert len(glass.calls(other)) == 1


def test_killed_twenty_times_over_two_hundred_mentors_nobody_is_forgotten_or_called_in_vain(
    glass: Glass,
) -> None:
    """kill -9 at random points of the journal; then one run to the end, and one that finds nothing."""
    seed = 20_261_128
    chance = random.Random(seed)  # noqa: S311 - a test's own choice
    paused = glass.mentors(120, "paused", applied="visible", shown=True)
    active = glass.mentors(80, "active", applied="hidden", shown=False)
    glass.export()
    glass.dynamics.latency(0.01)
    killed = 0
    for _ in range(20):
        size = glass.journal.stat().st_size if glass.journal.exists() else 0
        process = glass.start("apply", str(glass.roster), "--yes", "--reason", "everything is down")
        if glass.until_grown(process, size + chance.randrange(100, 3_000)):
            process.kill()
            killed += 1
        process.join(60)
        if chance.random() < 0.3:  # and the disk kept half a line
            with glass.journal.open("ab") as file:
                file.write(b'{"line":"answer","at":17')
    assert glass.apply("--yes").code == 0
    assert killed == 20
    assert glass.shown([*paused, *active]) == dict.fromkeys(paused, False) | dict.fromkeys(
        active, True
    )
    lines = glass.lines()
    calls = Counter(line["contact_id"] for line in lines if line["line"] == "call")
    answered = {line["contact_id"]: line["effect"] for line in lines if line["line"] == "answer"}
    assert len(calls) == 200
    assert set(answered.values()) == {"applied"}
    # Called again only where no answer had been written.
    asks = Counter(line["contact_id"] for line in lines if line["line"] == "answer")
    assert max(asks.values()) == 1
    before = glass.dynamics.last_seq()
    assert glass.apply("--yes").code == 0
    assert glass.dynamics.journal(before, kind="api") == []


async def test_after_a_settlement_ledger_dynamics_and_application_agree(glass: Glass) -> None:
    """Also for who was changed meanwhile, and for a call whose answer never came."""
    paused = glass.mentors(6, "paused", applied="visible", shown=True)
    active = glass.mentors(6, "active", applied="hidden", shown=False)
    glass.export()
    glass.dynamics.hold("kept", contact=contact_of(active[0]))
    process = glass.start("apply", str(glass.roster), "--yes", "--reason", "all is down")
    await asyncio.to_thread(glass.dynamics.until_held, "kept", deadline_s=30)
    process.kill()
    process.join(60)
    glass.dynamics.release()
    # The application goes on: one is reinstated, one is paused, one leaves.
    glass.sql("UPDATE app.mentor SET status = 'reinstated' WHERE id = %s", paused[0])
    glass.sql("UPDATE app.mentor SET status = 'paused' WHERE id = %s", active[0])
    glass.sql("DELETE FROM app.mentor WHERE id = %s", active[1])
    ended = await asyncio.to_thread(glass.settle)
    assert ended.code == 0, ended.err
    told = ended.content
    assert told["unanswered"] >= 1
    concerned = {line["mentor_id"] for line in glass.lines() if line["line"] == "call"}
    assert set(told["mentor_ids"]) == concerned
    states = glass.sql(
        "SELECT mentor_id::text FROM hlf_sync.mentor_ledger WHERE state = 'in_doubt' AND intended"
        " IS NOT NULL AND doubt_until IS NOT NULL AND reevaluate_at <= now()"
    )
    assert {row[0] for row in states} == concerned
    asked = glass.sql("SELECT mentor_id::text, reason FROM hlf_sync.sync_request")
    assert {row[0] for row in asked} == concerned
    assert {row[1] for row in asked} == {"break-glass settle: all is down"}
    # 120 s pass: no late effect can come any more.
    glass.sql("UPDATE hlf_sync.mentor_ledger SET doubt_until = now()")
    wanted = dict.fromkeys(paused, False) | dict.fromkeys(active, True)
    wanted |= {paused[0]: True, active[0]: False, active[1]: False}
    await deliver_all(glass, wanted)
    shown = glass.shown([*paused, *active])
    assert shown == wanted
    ledger = dict(glass.sql("SELECT mentor_id::text, applied FROM hlf_sync.mentor_ledger"))
    assert ledger == {m: "visible" if is_shown else "hidden" for m, is_shown in shown.items()}
    # Who and why, and a second settlement finds nothing.
    kept = glass.sql("SELECT DISTINCT called_by, reason FROM hlf_sync.break_glass_call")
    assert [row[1] for row in kept] == ["all is down"]
    history = glass.sql("SELECT began_by, why FROM hlf_sync.history WHERE kind = 'break_glass'")
    assert history == [(kept[0][0], "all is down")]
    assert (await asyncio.to_thread(glass.settle)).content["mentors"] == 0


async def test_a_call_of_a_worker_that_was_on_its_way_does_not_end_the_doubt(glass: Glass) -> None:
    """It was claimed before the settlement, so it may have come before break-glass."""
    (mentor_id,) = glass.mentors(1, "active", applied="visible", shown=True)
    glass.export()
    await asyncio.to_thread(glass.apply, "--hide", mentor_id, "--yes")
    glass.dynamics.hold("kept", contact=contact_of(mentor_id))
    glass.sql("UPDATE hlf_sync.mentor_ledger SET applied = 'hidden'")
    delivery = asyncio.get_running_loop().create_task(deliver_all(glass, {mentor_id: True}))
    await asyncio.to_thread(glass.dynamics.until_held, "kept", deadline_s=30)
    await asyncio.to_thread(glass.settle)
    glass.dynamics.release()
    with suppress(DynamicsError):  # its answer does not count any more, and it says so
        await delivery
    assert glass.sql("SELECT state FROM hlf_sync.mentor_ledger") == [("in_doubt",)]
    await deliver_all(glass, {mentor_id: True})
    assert glass.sql("SELECT state, applied FROM hlf_sync.mentor_ledger") == [
        ("in_sync", "visible")
    ]


def test_a_dry_run_says_that_nothing_was_called(glass: Glass) -> None:
    """Its last line must not look like that of a night's work that is done."""
    (mentor_id,) = glass.mentors(1, "paused", applied="visible", shown=True)
    glass.export()
    ended = glass.apply("--dry-run")
    assert (ended.code, ended.out.strip()) == (0, "Dry run: nothing was called.")
    assert glass.shown([mentor_id]) == {mentor_id: True}


def test_ctrl_c_ends_it_says_how_to_go_on_and_the_next_one_does(glass: Glass) -> None:
    paused = glass.mentors(30, "paused", applied="visible", shown=True)
    glass.export()
    glass.dynamics.latency(0.05)
    bare = {k: v for k, v in os.environ.items() if not k.startswith("HLF_SYNC_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "hlf_sync", "break-glass", "apply", str(glass.roster), "--yes"],
        env=bare | glass.credentials(),
        cwd=glass.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not any(line["line"] == "call" for line in glass.lines()):
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, "the same command goes on" in said) == (130, True), said
    assert any(glass.shown(paused).values())
    assert glass.apply("--yes").code == 0
    assert not any(glass.shown(paused).values())


def test_a_second_apply_at_the_same_time_is_refused(glass: Glass) -> None:
    glass.mentors(1, "paused", applied="visible", shown=True)
    glass.export()
    glass.dynamics.hold("kept")
    first = glass.start("apply", str(glass.roster), "--yes")
    glass.dynamics.until_held("kept", deadline_s=30)
    second = glass.apply("--yes")
    glass.dynamics.release()
    first.join(60)
    assert (first.exitcode, second.code) == (0, 2)
    assert "another break-glass command" in second.err


def test_another_roster_in_the_place_of_an_unsettled_one_is_refused(glass: Glass) -> None:
    glass.mentors(1, "paused", applied="visible", shown=True)
    glass.export()
    assert glass.apply("--yes").code == 0
    glass.mentors(1, "paused", applied="visible", shown=True)
    glass.export()
    ended = glass.apply("--yes")
    assert ended.code == 2
    assert "settle" in ended.err
    assert glass.settle().code == 0
    assert glass.apply("--yes").code == 0


@pytest.mark.parametrize("content", ["ROSTER", "abc", '{"line": 1'])
def test_settling_a_file_that_is_no_journal_leaves_it_as_it_was(glass: Glass, content: str) -> None:
    """The roster above all: it is what the next `apply` needs, and its name is shorter to type."""
    glass.mentors(1, "active", applied="visible", shown=True)
    glass.export()
    if content != "ROSTER":
        glass.roster.write_text(content)
    before = glass.roster.read_bytes()
    ended = glass.run("settle", str(glass.roster))
    assert ended.code == 2
    assert "no line of a break-glass journal" in ended.err
    assert glass.roster.read_bytes() == before


def test_a_secret_that_is_typed_in_reaches_neither_disk_nor_environment_nor_screen(
    glass: Glass,
) -> None:
    (mentor_id,) = glass.mentors(1, "paused", applied="visible", shown=True)
    glass.export()
    env = glass.credentials()
    secret = env.pop("HLF_SYNC_DYNAMICS_CLIENT_SECRET")
    bare = {k: v for k, v in os.environ.items() if not k.startswith("HLF_SYNC_")}
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "hlf_sync", "break-glass", "apply", str(glass.roster)],
        env=bare | env | {"TERM": "dumb"},
        cwd=glass.folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    answers = {
        b"client secret (not shown): ": secret,  # the blank comes when the echo is off
        b"Why": "the others are down",
        b"Call Dynamics for 1 contact?": "y",
    }
    seen = b""
    while process.poll() is None or select.select([ours], [], [], 0)[0]:
        if not select.select([ours], [], [], 0.1)[0]:
            continue
        try:
            seen += os.read(ours, 65_536)
        except OSError:
            break
        for question in [question for question in answers if question in seen]:
            if question.startswith(b"client secret"):
                environ = Path(f"/proc/{process.pid}/environ").read_bytes()
                assert secret.encode() not in environ
            os.write(ours, f"{answers.pop(question)}\n".encode())
    os.close(ours)
    assert process.wait(timeout=60) == 0, seen.decode()
    assert glass.shown([mentor_id]) == {mentor_id: False}
    assert secret.encode() not in seen
    written = b"".join(path.read_bytes() for path in glass.folder.rglob("*") if path.is_file())
    assert secret.encode() not in written
