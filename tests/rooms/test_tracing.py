"""A whole worker that traces, on a real PostgreSQL: one trace from the commit to the call, over
retries, workers, letters and replays.
"""

import re
from itertools import pairwise

import pytest
from hlf_sync.clock import epoch_ns
from hlf_sync.core.answer import Response
from hlf_sync.core.retry import RetryPolicy
from hlf_sync.telemetry.tracing.attributes import ALLOWED, attributes
from opentelemetry.trace import SpanKind, StatusCode

from tests.fakes.spans import Collected, said
from tests.fakes.worker import Options
from tests.fixtures.leaks import Search
from tests.rooms.test_pipeline import World, until, world

__all__ = ["world"]
pytestmark = pytest.mark.postgres

KAFKA = "send hlf.mentor.changes"
HEADER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
STAGES = [KAFKA, "wait", "look", "claim", "PATCH", "record"]
MS = 1_000_000
RECORDED = (
    "SELECT (SELECT count(*) FROM hlf_sync.delivery_attempt), lease_owner FROM"
    " hlf_sync.mentor_ledger"
)


def traced(collected: Collected, **options: object) -> Options:
    return Options(tracer=collected.tracer(), **options)  # type: ignore[arg-type]


def kept(world: World, mentor_id: str) -> str | None:
    """The ledger's traceparent."""
    rows = world.execute(
        "SELECT trace_parent FROM hlf_sync.mentor_ledger WHERE mentor_id = %s", mentor_id
    )
    return rows[0][0] if rows else None


async def test_a_changes_trace_goes_from_its_commit_to_the_record_of_its_call(world: World) -> None:
    """One trace: the delivery above, its stages below it in their order, each with its
    true times.
    """
    collected, someone = Collected(), world.mentor("paused")
    bench = world.worker(traced(collected))
    sent_ms = epoch_ns() // MS
    bench.change(someone, timestamp_ms=sent_ms, committed_ms=sent_ms - 40)
    await until(lambda: bench.is_done and collected.of("mentor change"))
    delivery = collected.one("mentor change")
    stages = [span for span in collected.spans if span is not delivery]
    assert [span.name for span in stages] == STAGES
    assert len(collected.traces) == 1
    assert {span.parent and span.parent.span_id for span in stages} == {delivery.context.span_id}
    assert delivery.parent is None
    assert delivery.start_time == stages[0].start_time == (sent_ms - 40) * MS
    assert stages[0].end_time == sent_ms * MS
    for span in collected.spans:
        assert span.start_time <= span.end_time <= delivery.end_time <= epoch_ns()  # type: ignore[operator]
    for earlier, later in pairwise(stages):
        assert earlier.end_time <= later.start_time, (earlier.name, later.name)  # type: ignore[operator]
    assert {said(span, "hlf_sync.mentor_id") for span in collected.spans} == {someone}
    assert kept(world, someone) is None


async def test_spans_say_what_the_conventions_ask_for(world: World) -> None:
    """HTTP and messaging names; which mentor, which attempt, why; and nothing beyond the list."""
    collected, someone = Collected(), world.mentor("paused")
    bench = world.worker(traced(collected))
    bench.change(someone)
    await until(lambda: bench.is_done and collected.of("mentor change"))
    call, delivery, look, kafka = (
        collected.one(name) for name in ("PATCH", "mentor change", "look", KAFKA)
    )
    assert (
        call.kind,
        said(call, "http.request.method"),
        said(call, "http.response.status_code"),
    ) == (SpanKind.CLIENT, "PATCH", 204)
    assert (said(call, "server.address"), said(call, "server.port")) == ("org.example.org", 443)
    assert (said(call, "hlf_sync.operation"), said(call, "hlf_sync.attempt")) == ("remove", 1)
    ((correlation_id,),) = world.execute(
        "SELECT correlation_id::text FROM hlf_sync.delivery_attempt"
    )
    assert said(call, "hlf_sync.correlation_id") == correlation_id
    assert (
        delivery.kind,
        said(delivery, "hlf_sync.mentor_id"),
        said(delivery, "hlf_sync.outcome"),
    ) == (SpanKind.CONSUMER, someone, "applied")
    assert (said(look, "hlf_sync.decision"), said(look, "hlf_sync.reason")) == ("remove", "paused")
    assert (kafka.kind, said(kafka, "messaging.system")) == (SpanKind.PRODUCER, "kafka")
    assert said(kafka, "messaging.kafka.offset") == 0
    assert {name for span in collected.spans for name in span.attributes or {}} <= set(
        ALLOWED.values()
    )
    with pytest.raises(KeyError):
        attributes(full_name="somebody")


async def test_a_records_traceparent_is_the_parent(world: World) -> None:
    """Debezium, or the application through it, has begun the trace."""
    collected, someone = Collected(), world.mentor("paused")
    bench = world.worker(traced(collected))
    bench.change(someone, trace_parent=HEADER)
    await until(lambda: bench.is_done and collected.of("mentor change"))
    delivery = collected.one("mentor change")
    assert collected.traces == {0x0AF7651916CD43DD8448EB211C80319C}
    assert delivery.parent is not None
    assert delivery.parent.span_id == 0xB7AD6B7169203331
    assert delivery.links == ()


@pytest.mark.parametrize("header", ["nonsense", "", "00-" + "0" * 32 + "-b7ad6b7169203331-01"])
async def test_a_broken_traceparent_is_none(world: World, header: str) -> None:
    """A fresh trace."""
    collected, someone = Collected(), world.mentor("paused")
    bench = world.worker(traced(collected))
    bench.change(someone, trace_parent=header)
    await until(lambda: bench.is_done and collected.of("mentor change"))
    assert collected.one("mentor change").parent is None


async def test_what_the_parent_does_not_sample_is_not_told(world: World) -> None:
    """The work is done all the same."""
    collected, someone = Collected(), world.mentor("paused")
    bench = world.worker(traced(collected))
    bench.change(someone, trace_parent=HEADER[:-2] + "00")
    await until(lambda: bench.is_done)
    assert world.ledger(someone) == ("hidden", "in_sync", 0)
    assert collected.spans == []


async def test_changes_of_one_evaluation_share_its_trace_and_link_to_their_own(
    world: World,
) -> None:
    """Each has its way into Kafka there; the oldest one's trace is the parent, the others are
    linked.
    """
    collected, someone = Collected(), world.mentor("paused")
    bench = world.worker(traced(collected))
    others = [HEADER.replace("b7ad", f"{number:04x}") for number in range(1, 40)]
    for header in [HEADER, None, *others]:
        bench.change(someone, trace_parent=header)
    await until(lambda: bench.is_done and collected.of("mentor change"))
    delivery = collected.of("mentor change")[0]
    assert delivery.parent is not None
    assert delivery.parent.span_id == 0xB7AD6B7169203331
    assert said(delivery, "messaging.batch.message_count") == 41
    assert len(collected.of(KAFKA)) == 32
    assert {f"{link.context.span_id:016x}" for link in delivery.links} == {
        header.split("-")[2] for header in others[:30]
    }
    assert bench.meter.evaluations == 1


async def test_a_retry_belongs_to_the_trace(world: World) -> None:
    """Two attempts below one delivery, and the wait between them."""
    collected, someone = Collected(), world.mentor("paused")
    world.dynamics.script[someone] = [Response(503)]
    bench = world.worker(traced(collected))
    bench.change(someone)
    await until(lambda: bench.is_done and collected.of("mentor change"))
    first, second = collected.of("PATCH")
    assert [said(call, "hlf_sync.attempt") for call in (first, second)] == [1, 2]
    assert (
        first.status.status_code,
        said(first, "error.type"),
        said(first, "hlf_sync.retry_in_ms"),
    ) == (StatusCode.ERROR, "server_error", 10)
    assert (
        len(collected.of("wait")),
        len(collected.of("mentor change")),
        len(collected.traces),
    ) == (2, 1, 1)
    wait = collected.of("wait")[1]
    assert (wait.end_time or 0) - (wait.start_time or 0) >= 9 * MS


async def test_another_worker_goes_on_with_the_trace(world: World) -> None:
    """The first one is killed between its attempts: the ledger kept the trace, and the second one's
    spans hang below the first one's delivery.
    """
    collected, someone = Collected(), world.mentor("paused")
    world.dynamics.script[someone] = [Response(503)]
    first = world.worker(
        traced(collected, retry=RetryPolicy(base_delay_s=20, max_delay_s=20, jitter_s=0)), "first"
    )
    first.change(someone)
    await until(lambda: collected.of("record"))
    await first.kill()
    stored = kept(world, someone)
    second = world.worker(traced(collected), "second")
    second.change(someone)  # Kafka gives it again
    await until(lambda: second.is_done and collected.of("mentor change continued"))
    delivery = collected.one("mentor change continued")
    assert (
        stored
        == f"00-{delivery.context.trace_id:032x}-{delivery.parent.span_id if delivery.parent else 0:016x}-01"
    )
    assert len(collected.traces) == 1
    assert [said(call, "hlf_sync.attempt") for call in collected.of("PATCH")] == [1, 2]
    assert said(delivery, "hlf_sync.outcome") == "applied"
    assert kept(world, someone) is None


async def test_a_dead_letter_and_its_replay_are_one_trace(world: World) -> None:
    """The letter's span says which; the replay comes by another worker; afterwards the ledger
    forgets.
    """
    collected, someone = Collected(), world.mentor("paused")
    world.dynamics.script[someone] = [Response(400)]
    first = world.worker(traced(collected), "first")
    first.change(someone)
    await until(lambda: first.is_done and collected.of("mentor change"))
    (letter,) = first.letters.letters
    lettered, delivery = (
        collected.one("send hlf.mentor.dead-letters"),
        collected.one("mentor change"),
    )
    assert said(lettered, "hlf_sync.letter_id") == letter.id
    assert (delivery.status.status_code, said(delivery, "hlf_sync.outcome")) == (
        StatusCode.ERROR,
        "dead_lettered",
    )
    await first.end()
    second = world.worker(traced(collected), "second")
    second.change(someone, "dead_letter_replay")
    await until(lambda: second.is_done and collected.of("mentor change continued"))
    replay = collected.one("mentor change continued")
    assert len(collected.traces) == 1
    assert replay.parent is not None
    assert replay.parent.span_id == delivery.context.span_id
    assert kept(world, someone) is None


async def test_a_letter_without_a_call_keeps_its_trace_too_and_a_new_change_has_its_own(
    world: World,
) -> None:
    """A mentor without a mapping: the change that heals it begins a trace, linked to
    the letter's.
    """
    collected, someone = Collected(), world.mentor("paused", is_mapped=False)
    bench = world.worker(traced(collected))
    bench.change(someone)
    await until(lambda: bench.is_done and collected.of("mentor change"))
    letters = collected.one("mentor change")
    assert (
        kept(world, someone)
        == f"00-{letters.context.trace_id:032x}-{letters.context.span_id:016x}-01"
    )
    assert [
        said(span, "hlf_sync.reason") for span in collected.of("send hlf.mentor.dead-letters")
    ] == ["mentor_mapping"]
    world.execute("INSERT INTO hlf_sync.contact_mapping VALUES (%s, %s)", someone, someone)
    bench.change(someone)
    await until(lambda: bench.is_done and len(collected.of("mentor change")) == 2)
    healed = (
        collected.of("mentor change")[-1]
        if collected.of("mentor change")[0] is letters
        else collected.of("mentor change")[0]
    )
    assert (len(collected.traces), [link.context.span_id for link in healed.links]) == (
        2,
        [letters.context.span_id],
    )
    assert kept(world, someone) is None


async def test_a_change_that_needs_no_call_says_why(world: World) -> None:
    """And another organisation's leaves no span at all."""
    collected, someone, stranger = (
        Collected(),
        world.mentor("paused"),
        world.mentor("paused", "OTHER"),
    )
    bench = world.worker(traced(collected))
    for mentor_id in (stranger, someone):
        bench.change(mentor_id)
        await until(lambda: bench.is_done)
    bench.change(someone)
    await until(lambda: bench.is_done and len(collected.of("mentor change")) == 2)
    assert [said(look, "hlf_sync.reason") for look in collected.of("look")] == ["paused", "in_sync"]
    assert {said(span, "hlf_sync.mentor_id") for span in collected.of("mentor change")} == {someone}


async def test_a_worker_that_does_not_trace_leaves_the_trace_to_those_who_do(world: World) -> None:
    """A fleet in the middle of being switched on: the trace survives an attempt that nobody
    traced.
    """
    collected, someone = Collected(), world.mentor("paused")
    world.dynamics.script[someone] = [Response(503), Response(503)]
    patient = RetryPolicy(base_delay_s=20, max_delay_s=20, jitter_s=0)
    for number, options in enumerate(
        (traced(collected, retry=patient), Options(retry=patient), traced(collected))
    ):
        bench = world.worker(options, f"worker-{number}")
        bench.change(someone)
        await until(lambda number=number: world.execute(RECORDED) == [(number + 1, None)])  # type: ignore[misc]
        await bench.kill()
    assert len(collected.traces) == 1
    assert [said(call, "hlf_sync.attempt") for call in collected.of("PATCH")] == [1, 3]


async def test_what_is_open_when_a_worker_ends_is_told(world: World) -> None:
    """So that no stage is left without the delivery above it."""
    collected, someone = Collected(), world.mentor("paused")
    world.dynamics.script[someone] = [Response(503)]
    options = traced(collected, retry=RetryPolicy(base_delay_s=20, max_delay_s=20, jitter_s=0))
    bench = world.worker(options)
    bench.change(someone)
    await until(lambda: collected.of("record"))
    await bench.end()
    assert options.tracer is not None
    options.tracer.left(lambda _mentor_id: False)
    assert said(collected.one("mentor change"), "hlf_sync.outcome") == "left"


@pytest.mark.requirement("R45")
async def test_no_personal_datum_stands_in_a_span(world: World) -> None:
    """Through a success, a letter, a refusal, and a header that somebody wrote a name into."""
    collected = Collected()
    people = [
        world.mentor("paused"),
        world.mentor("nonsense"),
        world.mentor("paused", is_mapped=False),
        world.mentor("paused"),
    ]
    world.execute(
        "UPDATE app.mentor SET full_name = 'Ada Canary', email = 'ada.canary@example.org', phone ="
        " '+49 30 5550100'"
    )
    world.dynamics.script[people[3]] = [Response(404)]
    bench = world.worker(traced(collected))
    for someone in people:
        bench.change(someone, trace_parent="Ada Canary")
    bench.raw(people[0].encode(), b"Ada Canary", trace_parent="Ada Canary")
    await until(lambda: bench.is_done and len(collected.of("mentor change")) == 4)
    assert (
        Search(["Ada Canary", "ada.canary@example.org", "+49 30 5550100"]).found(collected.text)
        == []
    )
    assert re.search(rb"status_change", collected.text), "the search looks at nothing"
