"""The protocol as steps between states: what the code does, one atomic access to shared state at a
time, and what the world may do meanwhile.

| step | the code it stands for |
|---|---|
| fetch | pipeline/intake.Intake.take, core/mentor_queue.MentorQueue.add |
| screen | pipeline/screening.Screening._look, core/evaluation.Evaluation.decide, core/decide.due, core/visibility.Snapshot.shows |
| settle | postgres/ledger.Ledger.settle |
| claim | pipeline/delivery.Delivery._claim, postgres/ledger.Ledger.claim |
| look | pipeline/delivery.Delivery._look, core/evaluation.Evaluation.confirm |
| send | pipeline/delivery.Delivery._start, pipeline/call.Call.ask, dynamics/client.DynamicsClient.call |
| serve | Dynamics; pipeline/call.Call._ask, core/outcome.conclude |
| record | postgres/ledger.Ledger.record, pipeline/recording.Recording._record, core/evaluation.after, pipeline/completion.Completion.requeue |
| commit | core/offsets.Offsets.committable, kafka/consumer_session.ConsumerSession.commit_offsets |
| schedule | worker/scheduler.Scheduler._stand |
| distrust | postgres/statements/distrust.DOUBT |
| remap | a mapping is rewritten: another contact, the old one is a former one |
| move, thaw | pipeline/worker.Worker.revoked, pipeline/worker.Worker.lost, pipeline/delivery.Delivery.drop |

tests/model/test_model.py checks that each of these names exists. Left out: letters, the circuit,
halts and pacing (they delay or end a delivery, and have machines and tests of their own), and the
one window that no fence closes: a worker that is frozen between its last look at the clock and its
first byte (a stall), and dies before it records (docs/delivery.md).
"""

from collections.abc import Iterator

from tests.model.state import DEAD, Entry, Mentor, Phase, Row, State, Worker

Step = tuple[str, State]
Bugs = frozenset[str]


def steps(state: State, bugs: Bugs) -> Iterator[Step]:
    """Everything that can happen next by itself: what has to end well when the world leaves it
    alone.
    """
    for number, worker in enumerate(state.workers):
        if worker.is_frozen:
            yield from _thaw(state, number, worker)
        else:
            yield from _fetch(state, number, worker)
        for mentor, entry in enumerate(worker.entries):
            if entry is None:
                continue
            if entry.phase is Phase.AIR:
                yield f"serve {mentor}", _served(state, number, mentor, entry)
            elif not worker.is_frozen:
                yield from _ACTS[entry.phase](state, number, mentor, entry, bugs)
    yield from _commit(state, bugs)
    yield from _time(state)


def interference(state: State, bugs: Bugs = frozenset()) -> Iterator[Step]:
    """What the world may do, as long as its budget lasts."""
    budget = state.budget
    for mentor, known in enumerate(state.mentors):
        if budget.writes[mentor] and known.unseen is None:
            yield from _write(state, mentor)
        if budget.replays:
            spent = state._replace(
                log=(*state.log, (mentor, True)), budget=budget._replace(replays=budget.replays - 1)
            )
            yield f"replay {mentor}", spent
        if budget.distrusts:
            yield from _distrust(state, mentor, bugs)
        if budget.remaps:
            yield f"remap {mentor}", _remapped(state, mentor)
    if budget.moves:
        yield "move", _moved(state._replace(budget=budget._replace(moves=budget.moves - 1)))
    yield from _mishaps(state)


def _mishaps(state: State) -> Iterator[Step]:
    """What may happen to a worker and to its calls."""
    budget = state.budget
    for number, worker in enumerate(state.workers):
        if budget.crashes:
            yield f"crash {number}", _crashed(state, number, budget_spent=True)
        if budget.freezes and not worker.is_frozen:
            frozen = state._replace(budget=budget._replace(freezes=budget.freezes - 1))
            yield f"freeze {number}", _with_worker(frozen, number, worker._replace(is_frozen=True))
        for mentor, entry in enumerate(worker.entries):
            if budget.losses and entry is not None and entry.phase is Phase.AIR:
                yield from _lose(state, number, mentor, entry)
            if budget.stalls and entry is not None and not worker.is_frozen:
                yield from _stall(state, number, mentor, entry)


# ── What a worker does
# ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _fetch(state: State, number: int, worker: Worker) -> Iterator[Step]:
    if state.member != number or worker.read >= len(state.log):
        return
    place = worker.read
    mentor = state.log[place][0]
    entry = worker.entries[mentor]
    if entry is None:
        entry = Entry(Phase.WAITING, (place,))
    elif entry.phase is Phase.WAITING:
        entry = entry._replace(changes=(*entry.changes, place))
    else:
        entry = entry._replace(newer=(*entry.newer, place))
    fetched = _with_worker(state, number, worker._replace(read=place + 1))
    yield f"fetch {number}", _with_entry(fetched, number, mentor, entry)


def _screen(state: State, number: int, mentor: int, entry: Entry, bugs: Bugs) -> Iterator[Step]:
    row = state.rows[mentor]
    if "no_visibility_guard" not in bugs and not all(
        state.log[place][1] for place in entry.changes
    ):
        return  # postponed
    if row.owner not in {None, number} and not row.is_lease_over and "no_lease" not in bugs:
        return  # postponed
    due = _due(row, state.mentors[mentor], is_in_doubt=row.intended is not None)
    if due is None:
        yield f"no call {mentor}", _finished(state, number, mentor, entry, bugs)
        yield (
            f"no call {mentor}, to be settled",
            _with_entry(
                state, number, mentor, entry._replace(phase=Phase.SETTLING, is_current=True)
            ),
        )
    else:
        job = entry._replace(
            phase=Phase.JOB,
            is_current=True,
            wanted=due[0],
            contact=due[1],
            is_farewell=due[2],
            before=row.intended,
            before_contacts=row.doubtful,
            was_doubtful=row.is_doubtful,
        )
        yield f"screen {mentor}", _with_entry(state, number, mentor, job)


def _due(row: Row, known: Mentor, *, is_in_doubt: bool) -> tuple[bool, int, bool] | None:
    """What to show of which contact, and whether it is a former one."""
    left = (row.about,) if row.applied else ()
    for contact in (*left, *row.doubtful):
        is_to_hide = contact in left or (
            is_in_doubt and not (row.is_doubtful and contact in row.hidden)
        )
        if contact != known.mapped and is_to_hide:
            return False, contact, True
    if row.about == known.mapped and row.applied == known.facts and not is_in_doubt:
        return None
    return known.facts, known.mapped, False


def _settle(state: State, number: int, mentor: int, entry: Entry, bugs: Bugs) -> Iterator[Step]:
    row = state.rows[mentor]
    is_at_rest = ((entry.is_current and row.intended is None) or "settled_in_doubt" in bugs) and (
        row.owner is None or row.is_lease_over
    )
    if is_at_rest:
        yield (
            f"settle {mentor}",
            _finished(
                _with_row(state, mentor, row._replace(is_due=False, is_soon=False)),
                number,
                mentor,
                entry,
                bugs,
            ),
        )
    else:
        yield f"settling {mentor} refused", _again(state, number, mentor, entry)


def _claim(state: State, number: int, mentor: int, entry: Entry, bugs: Bugs) -> Iterator[Step]:
    row = state.rows[mentor]
    is_free = row.owner in {None, number} or row.is_lease_over
    if not (entry.is_current and is_free) and "no_lease" not in bugs:
        yield f"claim of {mentor} refused", _again(state, number, mentor, entry)
        return
    is_doubtful = (
        row.is_doubtful or row.owner is not None
    ) and "late_effect_not_asserted" not in bugs
    intended = row.intended if "no_intent" in bugs else entry.wanted
    doubtful, hidden = (row.doubtful, row.hidden) if row.intended is not None else ((), ())
    if "contact_in_doubt_forgotten" not in bugs:
        doubtful = _noted(doubtful, entry.contact)
    taken = row._replace(
        intended=intended,
        owner=number,
        is_lease_over=False,
        is_doubtful=is_doubtful,
        doubtful=doubtful,
        hidden=_without(hidden, entry.contact) if entry.wanted else hidden,
    )
    claimed = entry._replace(phase=Phase.CLAIMED, is_past=not is_doubtful, is_current=True)
    yield (
        f"claim {mentor}",
        _with_entry(
            _outdated(_with_row(state, mentor, taken), number, mentor), number, mentor, claimed
        ),
    )


def _look(state: State, number: int, mentor: int, entry: Entry, bugs: Bugs) -> Iterator[Step]:
    seen = tuple(place for place in entry.newer if state.log[place][1])
    rest = tuple(place for place in entry.newer if not state.log[place][1])
    row, known = state.rows[mentor], state.mentors[mentor]
    before = row._replace(is_doubtful=row.is_doubtful and entry.was_doubtful)
    due = _due(before, known, is_in_doubt=entry.before is not None)
    if "facts_not_re_read" in bugs or due == (entry.wanted, entry.contact, entry.is_farewell):
        held = entry._replace(phase=Phase.HELD, changes=(*entry.changes, *seen), newer=rest)
        yield f"look {mentor}", _with_entry(state, number, mentor, held)
    else:
        yield (
            f"look {mentor}: changed",
            _with_entry(state, number, mentor, entry._replace(phase=Phase.RELEASING)),
        )


def _send(state: State, number: int, mentor: int, entry: Entry, bugs: Bugs) -> Iterator[Step]:
    row = state.rows[mentor]
    has_lease = row.owner == number and entry.is_current and not row.is_lease_over
    phase = Phase.AIR if has_lease or "no_lease" in bugs else Phase.RELEASING
    yield f"send {mentor}", _with_entry(state, number, mentor, entry._replace(phase=phase))


def _first_byte(
    state: State, number: int, mentor: int, entry: Entry, _bugs: Bugs
) -> Iterator[Step]:
    """It stood still after its last look at the clock, and sends all the same."""
    sent = _with_entry(state, number, mentor, entry._replace(phase=Phase.AIR))
    yield f"first byte about {mentor}", sent


def _record(state: State, number: int, mentor: int, entry: Entry, bugs: Bugs) -> Iterator[Step]:
    row = state.rows[mentor]
    if not (entry.is_current and row.owner == number) and "no_generation_check" not in bugs:
        yield (
            f"lease of {mentor} lost",
            _again(_lost(state, number, mentor, entry, bugs), number, mentor, entry),
        )
    elif entry.phase is Phase.OK:
        yield (
            f"record {mentor}",
            _finished(_with_row(state, mentor, _done(row, entry)), number, mentor, entry, bugs),
        )
    elif entry.phase is Phase.LATE:
        doubt = row._replace(
            owner=None, is_lease_over=False, is_doubtful="late_effect_not_asserted" not in bugs
        )
        yield (
            f"record {mentor}: late",
            _again(_with_row(state, mentor, doubt), number, mentor, entry),
        )
    else:
        given_back = row._replace(
            intended=entry.before,
            owner=None,
            is_lease_over=False,
            doubtful=entry.before_contacts if entry.before is not None else (),
        )
        yield (
            f"release {mentor}",
            _again(_with_row(state, mentor, given_back), number, mentor, entry),
        )


def _done(row: Row, entry: Entry) -> Row:
    """After a success. After a former contact it is the next one's turn at once."""
    done = row._replace(
        applied=entry.wanted,
        about=entry.contact,
        owner=None,
        is_lease_over=False,
        is_soon=entry.is_farewell,
    )
    if not entry.is_past or row.is_doubtful:
        hidden = row.hidden if entry.wanted else _noted(row.hidden, entry.contact)
        return done._replace(is_due=not entry.is_farewell, hidden=hidden)
    left = _without(row.doubtful, entry.contact) if entry.is_farewell else ()
    return done._replace(
        intended=row.intended if left else None,
        is_doubtful=False,
        is_due=False,
        doubtful=left,
        hidden=_without(row.hidden, entry.contact) if left else (),
    )


def _noted(contacts: tuple[int, ...], contact: int) -> tuple[int, ...]:
    return contacts if contact in contacts else (*contacts, contact)


def _without(contacts: tuple[int, ...], contact: int) -> tuple[int, ...]:
    return tuple(one for one in contacts if one != contact)


def _lost(state: State, number: int, mentor: int, entry: Entry, bugs: Bugs) -> State:
    """A call ended outside its lease: doubt, with a generation of its own, so that whoever has
    looked or claimed before it neither releases nor records it away. Its own lease ends with it.
    """
    row = state.rows[mentor]
    if row.owner == number:
        row = row._replace(owner=None, is_lease_over=False, is_doubtful=True)
    if entry.phase is Phase.RELEASING:
        return _with_row(state, mentor, row)
    intended = row.applied if row.intended is None else row.intended
    doubted = row._replace(
        intended=intended,
        is_doubtful=True,
        is_due=True,
        doubtful=_noted(row.doubtful, entry.contact),
        hidden=_without(row.hidden, entry.contact),
    )
    state = _with_row(state, mentor, doubted)
    return state if "lost_without_generation" in bugs else _outdated(state, number, mentor)


_ACTS = {
    Phase.WAITING: _screen,
    Phase.JOB: _claim,
    Phase.CLAIMED: _look,
    Phase.HELD: _send,
    Phase.OK: _record,
    Phase.LATE: _record,
    Phase.RELEASING: _record,
    Phase.SETTLING: _settle,
    Phase.SENDING: _first_byte,
}


def _commit(state: State, bugs: Bugs) -> Iterator[Step]:
    worker = state.workers[state.member]
    if worker.is_frozen:
        return
    unfinished = [
        place for entry in worker.entries if entry for place in (*entry.changes, *entry.newer)
    ]
    count = worker.read if "commit_before_record" in bugs else min(unfinished, default=worker.read)
    if count:
        yield "commit", _cut(state, count)


def _cut(state: State, count: int) -> State:
    """The log begins later; what the zombie still holds of it is nobody's any more."""
    workers = tuple(
        worker._replace(
            read=max(0, worker.read - count),
            entries=tuple(
                entry
                and entry._replace(
                    changes=_shifted(entry.changes, count), newer=_shifted(entry.newer, count)
                )
                for entry in worker.entries
            ),
        )
        for worker in state.workers
    )
    return state._replace(log=state.log[count:], workers=workers)


def _shifted(places: tuple[int, ...], count: int) -> tuple[int, ...]:
    return tuple(place - count for place in places if place >= count)


# ── What time and the world do
# ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _time(state: State) -> Iterator[Step]:
    for mentor, row in enumerate(state.rows):
        is_orphan = row.owner == DEAD or (
            row.owner is not None and state.workers[row.owner].is_frozen
        )
        if is_orphan and not row.is_lease_over:
            yield (
                f"lease of {mentor} ends",
                _with_row(state, mentor, row._replace(is_lease_over=True)),
            )
        if row.is_doubtful and not _may_come_late(state, mentor):
            yield (
                f"doubt about {mentor} passes",
                _with_row(state, mentor, row._replace(is_doubtful=False)),
            )
        if row.is_soon or (row.is_due and not row.is_doubtful):
            planned = row.is_doubtful and row.intended is not None
            asked = _with_row(state, mentor, row._replace(is_soon=False, is_due=planned))
            yield f"schedule {mentor}", asked._replace(log=(*state.log, (mentor, True)))
        known = state.mentors[mentor]
        if known.unseen is not None:
            log = tuple((other, is_seen or other == mentor) for other, is_seen in state.log)
            yield (
                f"commit of {mentor} appears",
                _with_mentor(
                    state, mentor, known._replace(facts=known.unseen, unseen=None)
                )._replace(log=log),
            )
    for place, (mentor, contact, value) in enumerate(state.late):
        rest = state._replace(late=state.late[:place] + state.late[place + 1 :])
        yield f"late call of {mentor} vanishes", rest
        yield (
            f"late call of {mentor} takes effect",
            _with_mentor(rest, mentor, _showing(rest.mentors[mentor], contact, value)),
        )


def _may_come_late(state: State, mentor: int) -> bool:
    """Whether an older call can still take effect: doubt_until is later than that."""
    in_the_air = (worker.entries[mentor] for worker in state.workers)
    return any(other == mentor for other, *_ in state.late) or any(
        e is not None and e.phase is Phase.AIR and not e.is_current for e in in_the_air
    )


def _write(state: State, mentor: int) -> Iterator[Step]:
    budget, known = state.budget, state.mentors[mentor]
    writes = tuple(left - (other == mentor) for other, left in enumerate(budget.writes))
    value = not known.facts
    seen = _with_mentor(state, mentor, known._replace(facts=value))
    yield (
        f"write {mentor}",
        seen._replace(log=(*state.log, (mentor, True)), budget=budget._replace(writes=writes)),
    )
    if budget.invisible:
        unseen = _with_mentor(state, mentor, known._replace(unseen=value))
        spent = budget._replace(writes=writes, invisible=budget.invisible - 1)
        yield (
            f"write {mentor}, not visible yet",
            unseen._replace(log=(*state.log, (mentor, False)), budget=spent),
        )


def _served(state: State, number: int, mentor: int, entry: Entry) -> State:
    known = _showing(state.mentors[mentor], entry.contact, entry.wanted)
    return _with_entry(
        _with_mentor(state, mentor, known), number, mentor, entry._replace(phase=Phase.OK)
    )


def _showing(known: Mentor, contact: int, value: bool) -> Mentor:
    shown = (*known.shown[:contact], value, *known.shown[contact + 1 :])
    return known._replace(shown=shown)


def _remapped(state: State, mentor: int) -> State:
    known, budget = state.mentors[mentor], state.budget
    spent = state._replace(
        log=(*state.log, (mentor, True)), budget=budget._replace(remaps=budget.remaps - 1)
    )
    return _with_mentor(spent, mentor, known._replace(shown=(*known.shown, False)))


def _distrust(state: State, mentor: int, bugs: Bugs) -> Iterator[Step]:
    """Dynamics comes back as it once was, and an operator says so: a doubt with a generation of its
    own, whoever has claimed the mentor meanwhile.
    """
    budget, row, known = state.budget, state.rows[mentor], state.mentors[mentor]
    intended = row.applied if row.intended is None else row.intended
    spent = state._replace(budget=budget._replace(distrusts=budget.distrusts - 1))
    other = _showing(known, known.mapped, not known.shown[known.mapped])
    restored = _with_mentor(spent, mentor, other)
    doubtful = _noted(_noted(row.doubtful, row.about), known.mapped)
    doubted = _with_row(
        restored,
        mentor,
        row._replace(intended=intended, is_due=True, doubtful=doubtful, hidden=()),
    )
    if "operators_doubt_without_generation" not in bugs:
        doubted = _outdated(_outdated(doubted, 0, mentor), 1, mentor)
    yield f"{mentor} is restored and distrusted", doubted


def _lose(state: State, number: int, mentor: int, entry: Entry) -> Iterator[Step]:
    """The answer never comes: the call has taken effect, or will, or won't."""
    spent = state._replace(budget=state.budget._replace(losses=state.budget.losses - 1))
    lost = _with_entry(spent, number, mentor, entry._replace(phase=Phase.LATE))
    yield (
        f"answer about {mentor} lost",
        _with_mentor(lost, mentor, _showing(lost.mentors[mentor], entry.contact, entry.wanted)),
    )
    yield (
        f"call of {mentor} delayed",
        lost._replace(late=tuple(sorted((*lost.late, (mentor, entry.contact, entry.wanted))))),
    )


def _stall(state: State, number: int, mentor: int, entry: Entry) -> Iterator[Step]:
    """The worker stands still between its last look at the clock and the first byte of a call."""
    row = state.rows[mentor]
    if entry.phase is Phase.HELD and row.owner == number and entry.is_current:
        spent = state._replace(budget=state.budget._replace(stalls=state.budget.stalls - 1))
        worker = spent.workers[number]._replace(is_frozen=True)
        stalled = _with_entry(
            _with_worker(spent, number, worker), number, mentor, entry._replace(phase=Phase.SENDING)
        )
        yield f"worker {number} stalls before its call of {mentor}", stalled


def _crashed(state: State, number: int, *, budget_spent: bool) -> State:
    worker = state.workers[number]
    in_the_air = [
        (mentor, e.contact, e.wanted)
        for mentor, e in enumerate(worker.entries)
        if e is not None and e.phase is Phase.AIR
    ]
    rows = tuple(row._replace(owner=DEAD) if row.owner == number else row for row in state.rows)
    budget = state.budget._replace(crashes=state.budget.crashes - budget_spent)
    state = state._replace(rows=rows, late=tuple(sorted((*state.late, *in_the_air))), budget=budget)
    state = _with_worker(state, number, Worker((None,) * len(worker.entries)))
    return state if state.member != number else _joined(state, 1 - number)


def _moved(state: State) -> State:
    """The partition goes to the other worker, whether or not the one that had it hears
    of it now.
    """
    return _joined(
        _with_worker(state, state.member, _deprived(state.workers[state.member])), 1 - state.member
    )


def _joined(state: State, number: int) -> State:
    return _with_worker(
        state._replace(member=number), number, state.workers[number]._replace(read=0)
    )


def _deprived(worker: Worker) -> Worker:
    """Nothing of the partition is held any more; what was claimed ends by itself."""
    kept = (
        (
            None
            if e is None or e.phase in {Phase.WAITING, Phase.JOB}
            else e._replace(changes=(), newer=())
        )
        for e in worker.entries
    )
    return worker._replace(read=0, entries=tuple(kept))


def _thaw(state: State, number: int, worker: Worker) -> Iterator[Step]:
    """It goes on where it stood. If its session has ended, the partition is another's; while it has
    not, it is still its own.
    """
    yield f"thaw {number}", _with_worker(state, number, worker._replace(is_frozen=False))
    if state.member == number and not state.workers[1 - number].is_frozen:
        yield f"session of {number} ends", _moved(state)


# ── How an evaluation ends
# ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _finished(state: State, number: int, mentor: int, entry: Entry, bugs: Bugs) -> State:
    is_dirty = bool(entry.newer) and "newer_change_swallowed" not in bugs
    return _with_entry(
        state, number, mentor, Entry(Phase.WAITING, entry.newer) if is_dirty else None
    )


def _again(state: State, number: int, mentor: int, entry: Entry) -> State:
    changes = (*entry.changes, *entry.newer)
    return _with_entry(state, number, mentor, Entry(Phase.WAITING, changes) if changes else None)


def _outdated(state: State, number: int, mentor: int) -> State:
    """Somebody claimed: everybody else's generation is an older one."""
    other = state.workers[1 - number].entries[mentor]
    return (
        state
        if other is None
        else _with_entry(state, 1 - number, mentor, other._replace(is_current=False))
    )


def _with_entry(state: State, number: int, mentor: int, entry: Entry | None) -> State:
    worker = state.workers[number]
    return _with_worker(
        state,
        number,
        worker._replace(entries=(*worker.entries[:mentor], entry, *worker.entries[mentor + 1 :])),
    )


def _with_worker(state: State, number: int, worker: Worker) -> State:
    return state._replace(
        workers=(worker, state.workers[1]) if number == 0 else (state.workers[0], worker)
    )


def _with_row(state: State, mentor: int, row: Row) -> State:
    return state._replace(rows=(*state.rows[:mentor], row, *state.rows[mentor + 1 :]))


def _with_mentor(state: State, mentor: int, known: Mentor) -> State:
    return state._replace(mentors=(*state.mentors[:mentor], known, *state.mentors[mentor + 1 :]))
