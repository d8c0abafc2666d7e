"""What a topic lacks (tests/integration/test_letter_topic.py asks a real cluster)."""

import pytest
from hlf_sync.errors import DependencyError, SettingsError
from hlf_sync.kafka.topics import FoundTopic, Topic, compare, inspect_topics, read_topics

_TOPIC = Topic("t", 12, 3, {"cleanup.policy": "delete", "retention.ms": "1"})


def test_a_topic_as_wanted_has_no_difference() -> None:
    """Settings beyond the wanted ones are the cluster's."""
    assert compare(_TOPIC, FoundTopic(12, 3, {**_TOPIC.config, "segment.ms": "9"})) == ({}, ())


def test_only_what_differs_is_altered() -> None:
    """The sentence says both values."""
    settings, sentences = compare(
        _TOPIC, FoundTopic(12, 3, {"cleanup.policy": "compact", "retention.ms": "1"})
    )
    assert settings == {"cleanup.policy": "delete"}
    assert sentences == ("cleanup.policy is compact, should be delete",)


@pytest.mark.parametrize(
    "found", [FoundTopic(6, 3, _TOPIC.config), FoundTopic(12, 1, _TOPIC.config)]
)
def test_partitions_and_replicas_are_told_and_not_altered(found: FoundTopic) -> None:
    """Other partitions would move mentors."""
    settings, sentences = compare(_TOPIC, found)
    assert settings == {}
    assert len(sentences) == 1


def test_the_contract_of_the_changes_topic_is_kept() -> None:
    """12 partitions, delete policy, at least 14 days, and not less than the dead letters that point
    into it.
    """
    topics = {
        topic.name: topic
        for topic in read_topics(changes_topic="changes", dead_letters_topic="letters")
    }
    changes, letters = topics["changes"], topics["letters"]
    assert (changes.partitions, changes.config["cleanup.policy"]) == (12, "delete")
    assert int(changes.config["retention.ms"]) >= 14 * 86_400_000
    assert int(changes.config["retention.ms"]) >= int(letters.config["retention.ms"])
    assert {"__debezium-heartbeat.hlf", "hlf.hlf_sync.dbz_signal"} < topics.keys()


def test_a_small_cluster_still_lets_producers_write() -> None:
    """One broker cannot keep two in sync."""
    topics = read_topics(changes_topic="changes", dead_letters_topic="letters", replicas=1)
    assert {(topic.replicas, topic.config["min.insync.replicas"]) for topic in topics} == {(1, "1")}


@pytest.mark.parametrize(("replicas", "in_sync"), [(1, "1"), (2, "1"), (3, "2"), (5, "2")])
def test_a_topic_is_never_told_to_have_all_its_replicas_in_sync(
    replicas: int, in_sync: str
) -> None:
    """Losing one broker would stop whoever writes, also where the command was run without --replicas."""
    topic = read_topics(changes_topic="changes", dead_letters_topic="letters")[0]
    settings, sentences = compare(
        topic, FoundTopic(12, replicas, {**topic.config, "min.insync.replicas": "4"})
    )
    assert settings == {"min.insync.replicas": in_sync}
    remedy = f"or `hlf-sync topics apply --replicas {replicas}` if that many are meant"
    assert [remedy in one for one in sentences] == [False] + [True] * (replicas != 3)


def test_kafka_away_is_a_dependency(monkeypatch: pytest.MonkeyPatch) -> None:
    """To be waited for; librdkafka's code is said in words."""
    monkeypatch.setattr("hlf_sync.kafka.topics._TIMEOUT_S", 0.5)
    with pytest.raises(
        DependencyError,
        match=r"Kafka cannot be reached \(no (broker answers at HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS|answer in time)\)",
    ):
        inspect_topics({"bootstrap.servers": "127.0.0.1:1"}, [_TOPIC])


def test_options_that_librdkafka_does_not_know_are_named_by_their_setting() -> None:
    """One line instead of a stack trace."""
    with pytest.raises(SettingsError, match="HLF_SYNC_KAFKA_OPTIONS"):
        inspect_topics({"no.such.option": "x"}, [_TOPIC])
