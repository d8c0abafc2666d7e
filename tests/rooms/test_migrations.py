"""Which migrations are due, and which sets are refused (tests/integration/test_migrate.py runs
them).
"""

from pathlib import Path

import pytest
from hlf_sync.postgres.migrate import MigrationError, due, read_migrations


def _write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.sql").write_text(text)
    return folder


def test_what_was_not_applied_is_due_in_order(tmp_path: Path) -> None:
    """Version order, whatever order the folder lists."""
    migrations = read_migrations(_write(tmp_path, **{"0002_b": "B", "0001_a": "A", "0003_c": "C"}))
    recorded = {1: (migrations[0].name, migrations[0].digest)}
    assert [migration.name for migration in due(migrations, recorded)] == [
        "0002_b.sql",
        "0003_c.sql",
    ]


def test_an_applied_file_that_changed_is_refused_by_name(tmp_path: Path) -> None:
    """Editing it would leave databases that differ and look alike."""
    migrations = read_migrations(_write(tmp_path, **{"0001_a": "A"}))
    with pytest.raises(MigrationError, match=r"0001_a\.sql was changed"):
        due(migrations, {1: ("0001_a.sql", "another digest")})


def test_line_ends_are_no_change(tmp_path: Path) -> None:
    """A checkout on Windows."""
    (tmp_path / "0001_a.sql").write_bytes(b"A\r\nB\r\n")
    windows = read_migrations(tmp_path)[0].digest
    (tmp_path / "0001_a.sql").write_bytes(b"A\nB\n")
    assert read_migrations(tmp_path)[0].digest == windows


def test_a_migration_between_applied_ones_is_refused(tmp_path: Path) -> None:
    """Two branches that both added the next number."""
    migrations = read_migrations(_write(tmp_path, **{"0001_a": "A"}))
    with pytest.raises(MigrationError, match="between older ones"):
        due(migrations, {2: ("0002_b.sql", "x")})


def test_versions_that_a_newer_program_applied_are_left_alone(tmp_path: Path) -> None:
    """An older program after a roll-back."""
    migrations = read_migrations(_write(tmp_path, **{"0001_a": "A"}))
    assert due(migrations, {1: ("0001_a.sql", migrations[0].digest), 2: ("0002_b.sql", "x")}) == ()


@pytest.mark.parametrize("names", [("first",), ("0001_a", "0001_b"), ("1_a",)])
def test_files_without_one_version_each_are_refused(names: tuple[str, ...], tmp_path: Path) -> None:
    """No name, or one version twice."""
    with pytest.raises(MigrationError):
        read_migrations(_write(tmp_path, **dict.fromkeys(names, "A")))
