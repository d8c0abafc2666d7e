#!/usr/bin/env bash
# Question: are TopicPartition("t", 0, 5) and TopicPartition("t", 0, 9) equal? They are what commit() takes and committed() returns.
# Guess: no: the offset is the point of the object, and its repr shows it.
# What happens: they are equal and hash alike. A set of positions keeps one of them, `committed == wanted` is true for any offsets,
#   and a test that compares lists of positions cannot fail.
# Versions: confluent-kafka 2.16.1. Seen: equal, one element in the set, neither is less.
source "$(dirname "$0")/lab.sh"
lab confluent-kafka==2.16.1
"$LAB/bin/python" - <<'PY'
import confluent_kafka
from confluent_kafka import TopicPartition

print("confluent-kafka", confluent_kafka.version())
early, late = TopicPartition("t", 0, 5), TopicPartition("t", 0, 9)
print("equal:", early == late, "elements in a set:", len({early, late}), "less:", early < late)
assert early == late
assert len({early, late}) == 1
assert not early < late
assert [early] == [late]
PY
