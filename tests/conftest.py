"""Fixtures that every suite may use; themes live in tests/fixtures."""

from collections.abc import Iterator

import pytest

from tests.fixtures.cluster import Cluster, run_cluster
from tests.fixtures.log_lines import keep_no_logger
from tests.fixtures.signals import give_children_the_defaults

give_children_the_defaults()
keep_no_logger()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A throwaway PostgreSQL."""
    yield from run_cluster()


@pytest.fixture
def database(cluster: Cluster) -> Iterator[str]:
    """A fresh database's name. It goes with its test: a thousand of them would fill a disk."""
    name = cluster.fresh()
    yield name
    cluster.drop(name)
