"""Stories of Dynamics, its tokens, dead letters and removals; each by its row in
docs/runbook.md.
"""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from hlf_sync.kafka.topics import ensure_topics, read_topics

from tests.alerts.canaries import POISON
from tests.alerts.scene import Scene, Story
from tests.fixtures.source_side import CHANGES
from tests.fixtures.worker_process import LETTERS, until

# Mentors at a time: a flood that is one before the limiter says so. All at once, it would stop them
# before twenty are written.
_TRICKLE = 6


def unavailable(scene: Scene) -> Iterator[None]:
    """503 to everybody, with removals due."""
    scene.town.dynamics.outage(mode="503")
    scene.hide()
    yield
    scene.town.dynamics.end_outage()
    scene.show()


def throttled(scene: Scene) -> Iterator[None]:
    """429 to every call."""
    scene.town.dynamics.fault("throttled", times=None)
    scene.hide()
    yield
    scene.town.dynamics.clear_faults()
    scene.show()


def token_refused(scene: Scene) -> Iterator[None]:
    """Entra says that the secret is wrong, and the tokens that there are no longer count."""
    scene.town.dynamics.fault("token-wrong-secret", times=None)
    scene.town.dynamics.revoke_tokens()
    scene.hide()
    yield
    scene.town.dynamics.clear_faults()
    scene.show()


def user_missing(scene: Scene) -> Iterator[None]:
    """The token is good, and Dynamics has no application user for it."""
    scene.town.dynamics.switches(app_user=False)
    scene.hide()
    yield
    scene.town.dynamics.switches(app_user=True)
    scene.show()


def poison_flood(scene: Scene) -> Iterator[None]:
    """Records that are none, one contact that Dynamics refuses with a person's name in its answer,
    and a status that the contract does not know.
    """
    town, refused = scene.town, scene.mentors[-1]
    raw = f'{{"error":{{"code":"0x80040333","message":"A record for {POISON} exists already"}}}}'
    number = town.dynamics.fault("duplicate", contact=refused, times=None, raw=raw)
    town.set_status([refused], "paused")
    _produce(
        scene,
        [POISON.encode(), b"\0\0\0\0\1" + POISON.encode(), f'{{"email":"{POISON}"}}'.encode()],
    )
    for start in range(0, len(scene.mentors) - 1, _TRICKLE):
        some = scene.mentors[:-1][start : start + _TRICKLE]
        enough = scene.sum("hlf_sync_dead_letters_total") + len(some)
        town.set_status(some, "bogus")
        until(
            lambda: (
                scene.sum("hlf_sync_dead_letters_total") >= enough  # noqa: B023
                or scene.is_halted("dead_letter_limit")
            ),
            "they are written",
        )
    yield
    town.dynamics.clear_faults(number)
    scene.show()
    _resume(scene)
    _close_letters(scene)


def _produce(scene: Scene, values: list[bytes]) -> None:
    producer = Producer(
        {"bootstrap.servers": scene.town.stack.env["HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS"]}
    )
    for value in values:
        producer.produce(CHANGES, key=str(uuid4()).encode(), value=value)
    producer.flush(10)


def _resume(scene: Scene) -> None:
    """Letters that waited are written now, and may halt once more: the operator says it again,
    until nothing halts.
    """

    def is_over() -> bool:
        if scene.is_halted("dead_letter_limit"):
            scene.order("resume", "dead-letter-limit")
            return False
        return scene.town.shown(scene.mentors) == scene.town.wanted(scene.mentors)

    until(is_over, "the halt is lifted and everybody is delivered", 60)


def _close_letters(scene: Scene) -> None:
    """Nothing is left to do about records that nobody can read."""
    with scene.town.side.admin() as connection:
        found = connection.execute(
            "SELECT dead_letter_id FROM hlf_sync.dynamics_sync_failures WHERE resolved_at IS NULL"
            " AND error_code = 'decode_error'"
        ).fetchall()
    assert found
    scene.order(
        "replay",
        "close",
        *(letter_id for (letter_id,) in found),
        "--reason",
        "the producer was found",
    )


def mass_removal(scene: Scene) -> Iterator[None]:
    """A batch job pauses everybody."""
    scene.town.set_status(scene.mentors, "paused")
    yield
    scene.order("confirm-removals", "--reason", "the story says so", "--yes")
    until(
        lambda: scene.town.shown(scene.mentors) == scene.town.wanted(scene.mentors),
        "the removals are through",
    )
    scene.show()


def letters_missing(scene: Scene) -> Iterator[None]:
    """Somebody deletes the dead-letter topic, and a letter is due."""
    town = scene.town
    kafka: dict[str, Any] = {
        "bootstrap.servers": town.stack.env["HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS"]
    }
    admin = AdminClient(kafka)  # by a name: its answers end with it
    admin.delete_topics([LETTERS])[LETTERS].result(30)
    until(lambda: LETTERS not in town.side.topics(), "the topic is gone")
    town.set_status(scene.mentors[:1], "bogus")
    yield
    ensure_topics(kafka, read_topics(changes_topic=CHANGES, dead_letters_topic=LETTERS, replicas=1))
    town.letters_begin = town.side.ends(LETTERS)
    scene.show()


STORIES: dict[str, Story] = {
    "token refused": token_refused,
    "no application user": user_missing,
    "Dynamics answers 429": throttled,
    "poison flood": poison_flood,
    "mass removal": mass_removal,
    "dead-letter topic missing": letters_missing,
    "Dynamics answers 503": unavailable,
}
