"""All stories by their rows in docs/runbook.md, in the order in which they are told there."""

from tests.alerts import of_dynamics, of_source, of_workers
from tests.alerts.scene import Story

STORIES: dict[str, Story] = {**of_source.STORIES, **of_workers.STORIES, **of_dynamics.STORIES}
