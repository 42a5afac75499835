"""A vibeweaver database: what becomes of each row, what is left out, and that it comes in once and whole."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.importers.foreign_files import (
    OF_VIBEWEAVER,
    VIBEWEAVER_BY_TYPES,
    make_database,
    vibeweaver_database,
    whole_jam,
    write_rows,
)
from tests.importers.undoing import content, undo_all
from tests.services.scene import dump, make
from vibeweaver_store import Store, actions, history, markers, rules, sessions, snapshots, stats, triggers
from vibeweaver_store.importers.runs import ImportReport
from vibeweaver_store.importers.vibeweaver import import_vibeweaver
from vibeweaver_store.models import ImportStatus, Priority, Session, SessionKind, SessionStatus
from vibeweaver_store.models.actions import Action
from vibeweaver_store.models.triggers import Trigger
from vibeweaver_store.services import imports
from vibeweaver_store.testing import RuleFactory, SessionFactory, SettableClock

EARLY = datetime(2025, 1, 13, 10, 0, tzinfo=UTC)
LATE = datetime(2025, 1, 13, 12, 30, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vibeweaver.db"


def reasons(report: ImportReport) -> list[str]:
    return [problem.reason for problem in report.problems]


def bring_rule(store: Store, path: Path, **columns: Any) -> ImportReport:
    vibeweaver_database(path, sessions=[{"id": "jam-1"}], rules=[{"id": "rule-1", "session_id": "jam-1", **columns}])
    return import_vibeweaver(store, path)


# --- rows ------------------------------------------------------------------------------------------------------


def test_a_vibeweaver_session_becomes_a_jam(store: Store, other: Store, path: Path) -> None:
    report = import_vibeweaver(store, whole_jam(path))

    jam = other.query(sessions.get, "jam-1")
    assert (jam.kind, jam.status) == (SessionKind.JAM, SessionStatus.CREATED)
    assert (jam.name, jam.vibe, jam.tempo_bpm) == ("late set", "dark techno", 130.0)
    assert (jam.created_at, jam.updated_at, jam.last_activity_at) == (EARLY, LATE, LATE)
    assert [jam.import_id] == report.import_ids


def test_a_vibeweaver_session_is_imported_with_its_rows(store: Store, other: Store, path: Path) -> None:
    import_vibeweaver(store, whole_jam(path))

    (marker,) = other.query(markers.page, "jam-1").items
    assert (marker.id, marker.beat, marker.name) == ("marker-1", 64.0, "drop")
    assert (marker.metadata_, marker.created_at) == ({"tempo_bpm": 130}, EARLY)
    first, second = other.query(history.page, "jam-1", oldest_first=True).items
    assert (first.action, first.params, first.result, first.success) == ("sample", {"space": "drums"}, None, True)
    assert (first.created_at, second.success) == (EARLY, False)
    snapshot = other.query(snapshots.load, "jam-1")
    assert (snapshot.state, snapshot.captured_at) == (b"state", LATE)
    assert snapshot.sha256 == hashlib.sha256(b"state").hexdigest()


def test_the_counts_of_a_vibeweaver_import_are_of_rows(store: Store, path: Path) -> None:
    counts = import_vibeweaver(store, whole_jam(path)).counts

    assert (counts.read, counts.new, counts.duplicate, counts.broken) == (7, 7, 0, 0)
    assert counts.sessions == 1


TRIGGERS: list[tuple[dict[str, Any], Trigger]] = [
    ({"type": "Beat", "divisor": 4}, triggers.Beat(divisor=4)),
    ({"type": "Marker", "name": "drop"}, triggers.Marker(name="drop")),
    ({"type": "Deadline", "beat": 64.0}, triggers.Deadline(beat=64.0)),
    ({"type": "Artifact", "tag": None}, triggers.Artifact()),
    ({"type": "Artifact", "tag": "drums"}, triggers.Artifact(tag="drums")),
    ({"type": "JobComplete", "job_id": "job-1"}, triggers.JobComplete(job_id="job-1")),
    ({"type": "Transport", "state": "playing"}, triggers.Transport(state="playing")),
]
ACTIONS: list[tuple[dict[str, Any], Action]] = [
    (
        {"type": "Sample", "space": "drums", "prompt": None, "inference": {"steps": 8}},
        actions.Sample(space="drums", inference={"steps": 8}),
    ),
    (
        {"type": "Schedule", "content_hash": "abc", "at": 8.0, "duration": None, "gain": 0.5},
        actions.Schedule(content_hash="abc", at=8.0, gain=0.5),
    ),
    (
        {"type": "SampleAndSchedule", "space": "pads", "prompt": "warm", "at": 16.0},
        actions.SampleAndSchedule(space="pads", prompt="warm", at=16.0),
    ),
    ({"type": "Play"}, actions.Play()),
    ({"type": "Pause"}, actions.Pause()),
    ({"type": "Stop"}, actions.Stop()),
    ({"type": "Seek", "beat": 4.0}, actions.Seek(beat=4.0)),
    ({"type": "Audition", "content_hash": "abc", "duration": 2.0}, actions.Audition(content_hash="abc", duration=2.0)),
    ({"type": "Notify", "message": "four"}, actions.Notify(message="four")),
]


def test_every_variant_of_vibeweaver_triggers_and_actions_is_read(store: Store, other: Store, path: Path) -> None:
    pairs = [(document, ACTIONS[0][0]) for document, _ in TRIGGERS] + [(TRIGGERS[0][0], each) for each, _ in ACTIONS]
    rows = [
        {
            "id": f"rule-{n:02}",
            "session_id": "jam-1",
            "trigger_params": json.dumps(trigger),
            "action_params": json.dumps(action),
            "created_at": f"2025-01-13T10:00:{n:02}Z",
        }
        for n, (trigger, action) in enumerate(pairs)
    ]
    vibeweaver_database(path, sessions=[{"id": "jam-1"}], rules=rows)

    assert import_vibeweaver(store, path).problems == []

    found = other.query(rules.page_by_session, "jam-1").items
    assert [rule.trigger for rule in found] == [ours for _, ours in TRIGGERS] + [triggers.Beat(divisor=4)] * len(
        ACTIONS
    )
    assert [rule.action for rule in found] == [ACTIONS[0][1]] * len(TRIGGERS) + [ours for _, ours in ACTIONS]
    assert {(rule.trigger_type, rule.trigger_key) for rule in found} == {(t.type, t.key) for _, t in TRIGGERS}
    assert {rule.action_type for rule in found} == {action.type for _, action in ACTIONS}


def test_a_vibeweaver_rule_keeps_its_fired_count(store: Store, other: Store, path: Path) -> None:
    bring_rule(
        store,
        path,
        priority="critical",
        enabled=0,
        one_shot=1,
        fired_count=3,
        last_fired_at="2025-01-13T12:30:00+00:00",
    )

    rule = other.query(rules.get, "rule-1")
    assert (rule.priority, rule.enabled, rule.one_shot) == (Priority.CRITICAL, False, True)
    assert (rule.fired_count, rule.last_fired_at, rule.created_at) == (3, LATE, EARLY)


@pytest.mark.parametrize("document", [{"divisor": 4}, {"type": "beat", "divisor": 4}], ids=["no tag", "small letters"])
def test_a_vibeweaver_tag_may_be_in_its_column(
    store: Store, other: Store, path: Path, document: dict[str, Any]
) -> None:
    bring_rule(store, path, trigger_params=json.dumps(document))

    assert other.query(rules.get, "rule-1").trigger == triggers.Beat(divisor=4)


def test_vibeweaver_tables_may_be_named_after_their_types(store: Store, other: Store, path: Path) -> None:
    at = {"created_at": "2025-01-13 10:00:00"}
    standing = {"priority": 4, "enabled": 1, "one_shot": 0, "fired_count": 0}
    documents = {"trigger": '{"type":"Beat","divisor":4}', "action": '{"type":"Play"}'}
    write_rows(
        make_database(path, VIBEWEAVER_BY_TYPES),
        {},
        sessions=[{"id": "jam-1", "name": "late set", "tempo_bpm": 130.0, **at, "updated_at": "2025-01-13 12:30:00"}],
        rules=[{"id": "rule-1", "session_id": "jam-1", **documents, **standing, **at}],
        snapshots=[
            {"session_id": "jam-1", "state": b"first", **at},
            {"session_id": "jam-1", "state": b"second", **at},
        ],
        generation_stats=[{"space": "drums", "avg_ms": 250, "count": 4}],
    )

    report = import_vibeweaver(store, path)

    assert (report.problems, report.counts.new) == ([], 5)
    rule = other.query(rules.get, "rule-1")
    assert (rule.trigger, rule.action, rule.priority) == (triggers.Beat(divisor=4), actions.Play(), Priority.IDLE)
    assert [each.size_bytes for each in other.query(snapshots.page, "jam-1").items] == [6, 5]


def test_vibeweaver_stats_keep_count_and_average(store: Store, other: Store, path: Path) -> None:
    import_vibeweaver(store, whole_jam(path))

    found = other.query(stats.get, "drums")
    assert (found.average_ms, found.sample_count, found.standard_deviation_ms) == (250, 4, 0)
    assert (found.min_ms, found.max_ms, found.last_ms, found.updated_at) == (250, 250, 250, LATE)
    (recorded,) = other.query(imports.page).items
    assert (recorded.report["spaces"], recorded.report["approximate"]) == ({"drums": 4}, "spaces")


def test_a_vibeweaver_import_leaves_existing_stats_as_they_are(store: Store, other: Store, path: Path) -> None:
    store.run(stats.record, "drums", 10)

    report = import_vibeweaver(store, whole_jam(path))
    undo_all(store, report)

    assert report.counts.duplicate == 1
    assert other.query(stats.get, "drums").total_ms == 10


@pytest.mark.parametrize("name", ["", " \t"], ids=["empty", "blank"])
def test_vibeweaver_session_with_an_empty_name_comes_without_one(
    store: Store, other: Store, path: Path, name: str
) -> None:
    vibeweaver_database(path, sessions=[{"id": "jam-1", "name": name}], markers=[{"id": "a", "session_id": "jam-1"}])

    report = import_vibeweaver(store, path)

    assert (report.problems, report.counts.new) == ([], 2)
    assert other.query(sessions.get, "jam-1").name is None
    assert [marker.id for marker in other.query(markers.page, "jam-1").items] == ["a"]


def test_vibeweaver_markers_come_with_any_metadata_and_any_beat(store: Store, other: Store, path: Path) -> None:
    found = {"a": "[1, {}]", "b": '"loud"', "c": "4", "d": "null", "e": None, "f": '{"bars": 8}'}
    mine = {"session_id": "jam-1"}
    vibeweaver_database(
        path,
        sessions=[{"id": "jam-1"}],
        markers=[
            {"id": marker_id, **mine, "beat": place - 4, "metadata": text}
            for place, (marker_id, text) in enumerate(found.items())
        ],
    )

    assert import_vibeweaver(store, path).problems == []

    brought = other.query(markers.page, "jam-1").items
    assert [(marker.id, marker.beat) for marker in brought] == list(zip("abcdef", range(-4, 2), strict=True))
    assert [marker.metadata_ for marker in brought] == [[1, {}], "loud", 4, None, None, {"bars": 8}]


def test_vibeweaver_rules_come_with_beats_before_zero(store: Store, other: Store, path: Path) -> None:
    bring_rule(
        store,
        path,
        trigger_params='{"type":"Deadline","beat":-4.0}',
        action_params='{"type":"Seek","beat":-8.0}',
    )

    rule = other.query(rules.get, "rule-1")
    assert (rule.trigger, rule.action) == (triggers.Deadline(beat=-4), actions.Seek(beat=-8))


@pytest.mark.parametrize("document", [{"divisor": 4}, {"type": "BEAT", "divisor": 4}], ids=["no tag", "capitals"])
def test_vibeweaver_rules_come_with_the_type_of_their_column(
    store: Store, other: Store, path: Path, document: dict[str, Any]
) -> None:
    bring_rule(store, path, trigger_type="Beat", trigger_params=json.dumps(document))

    assert other.query(rules.get, "rule-1").trigger == triggers.Beat(divisor=4)


# --- what is left out ------------------------------------------------------------------------------------------


BROKEN_RULES: list[tuple[dict[str, Any], str]] = [
    ({"trigger_params": '{"type":"Solstice"}'}, "trigger: 'Solstice' is no kind of trigger"),
    ({"trigger_params": '{"type":["Beat"]}'}, "trigger: ['Beat'] is no kind of trigger"),
    ({"trigger_params": "Beat"}, "trigger: is no JSON"),
    ({"trigger_params": "[4]"}, "trigger: must be a JSON object"),
    ({"trigger_params": '{"type":"Beat","divisor":0}'}, "trigger: beat.divisor: "),
    ({"action_params": '{"type":"Sing"}'}, "action: 'Sing' is no kind of action"),
    ({"action_params": '{"type":"Notify"}'}, "action: notify.message: "),
    ({"priority": "urgent"}, "Priority: 'urgent' is none of"),
    ({"enabled": 2}, "enabled: must be 0 or 1"),
    ({"fired_count": -1}, "fired_count: "),
    ({"fired_count": 3}, "last_fired_at: a rule has one if and only if it has fired"),
    ({"last_fired_at": "2025-01-13T12:30:00Z"}, "last_fired_at: a rule has one if and only if it has fired"),
    ({"created_at": "then"}, "created_at: must be a time"),
    ({"id": " "}, "id: must not be blank"),
]


def test_an_unreadable_vibeweaver_rule_is_rejected_and_the_rest_imported(
    store: Store, other: Store, path: Path
) -> None:
    broken = [columns for columns, _ in BROKEN_RULES]
    rows = [{"id": f"rule-{n}", "session_id": "jam-1", **columns} for n, columns in enumerate([*broken, {}])]
    vibeweaver_database(path, sessions=[{"id": "jam-1"}], rules=rows)

    report = import_vibeweaver(store, path)

    expected = [f"rules {row['id']!r}: {reason}" for row, (_, reason) in zip(rows, BROKEN_RULES, strict=False)]
    assert [said[: len(begins)] for said, begins in zip(reasons(report), expected, strict=True)] == expected
    assert [each.id for each in other.query(rules.page_by_session, "jam-1").items] == [rows[-1]["id"]]
    counts = report.counts
    assert (counts.read, counts.new, counts.broken) == (len(rows) + 1, 2, len(BROKEN_RULES))


def test_other_unreadable_vibeweaver_rows_are_rejected(store: Store, other: Store, path: Path) -> None:
    mine = {"session_id": "jam-1"}
    vibeweaver_database(
        path,
        sessions=[{"id": "jam-1"}, {"id": "jam-2", "name": "a\x00b"}, {"id": "jam-3", "tempo_bpm": 0.5}],
        markers=[{"id": "a", **mine, "beat": 9e999}, {"id": "b", **mine, "metadata": "["}, {"id": "c", **mine}],
        history=[{**mine, "action": ""}, {**mine, "params": "{"}, {**mine, "success": "yes"}, mine],
        kernel_snapshots=[{**mine, "state_capnp": "text"}],
        generation_stats=[{"space": "", "sample_count": 1}, {"space": "pads", "sample_count": 0}, {"space": "drums"}],
    )

    report = import_vibeweaver(store, path)

    named = [reason.split(": ")[:2] for reason in reasons(report)]
    assert named == [
        ["markers 'a'", "beat"],
        ["markers 'b'", "metadata"],
        ["history 1", "action"],
        ["history 2", "params"],
        ["history 3", "success"],
        ["snapshots 'jam-1'", "state"],
        ["sessions 'jam-2'", "name"],
        ["sessions 'jam-3'", "tempo_bpm"],
        ["generation_stats ''", "space"],
        ["generation_stats 'pads'", "count"],
    ]
    assert (report.counts.new, report.counts.broken) == (4, 10)


def test_vibeweaver_rows_without_an_imported_session_are_reported(store: Store, path: Path) -> None:
    vibeweaver_database(
        path,
        sessions=[{"id": "jam-1", "tempo_bpm": 1000.0}],
        markers=[{"id": "a", "session_id": "jam-1"}],
        rules=[{"id": "b", "session_id": "nobody"}],
    )

    report = import_vibeweaver(store, path)

    assert reasons(report)[1:] == [
        "markers 'a': its session was left out",
        "rules 'b': its session is not there",
    ]
    assert (report.counts.read, report.counts.broken) == (3, 3)


def test_a_vibeweaver_rule_with_a_taken_id_is_rejected(store: Store, other: Store, path: Path) -> None:
    with store.begin() as uow:
        RuleFactory.create(uow=uow, id="rule-1")

    report = bring_rule(store, path)

    assert reasons(report) == ["rules 'rule-1': its id is taken"]
    assert other.query(rules.get, "rule-1").session_id != "jam-1"


# --- again, tried, undone --------------------------------------------------------------------------------------


def test_a_second_vibeweaver_import_adds_nothing(store: Store, other: Store, path: Path) -> None:
    import_vibeweaver(store, whole_jam(path))
    before = content(other)

    again = import_vibeweaver(store, path)

    assert content(other) == before
    assert (again.counts.read, again.counts.duplicate, again.counts.new) == (7, 7, 0)
    assert (again.unchanged, again.import_ids, len(other.query(imports.page).items)) == (1, [], 1)


def grow(path: Path) -> None:
    """Go on in a jam: one more of everything, some of it just like what there is."""
    mine, at = {"session_id": "jam-1"}, {"created_at": "2025-01-14T10:00:00Z"}
    write_rows(
        path,
        OF_VIBEWEAVER,
        rules=[{"id": "rule-2", **mine}],
        markers=[{"id": "marker-2", **mine}],
        history=[{**mine, "params": '{"space":"drums"}'}, {**mine, "action": "later", **at}],
    )
    with closing(sqlite3.connect(path)) as theirs, theirs:
        theirs.execute("UPDATE kernel_snapshots SET state_capnp = x'01', captured_at = '2025-01-14T10:00:00Z'")


def test_a_second_vibeweaver_import_adds_new_rows_of_a_session(
    store: Store, other: Store, path: Path, clock: SettableClock
) -> None:
    import_vibeweaver(store, whole_jam(path))
    revision = other.query(rules.revision, "jam-1")
    clock.advance(days=1)
    grow(path)

    again = import_vibeweaver(store, path)

    assert (again.counts.read, again.counts.new, again.counts.duplicate, again.counts.sessions) == (11, 5, 6, 0)
    assert [each.id for each in other.query(rules.page_by_session, "jam-1").items] == ["rule-1", "rule-2"]
    assert [each.id for each in other.query(markers.page, "jam-1").items] == ["marker-1", "marker-2"]
    assert len(other.query(history.page, "jam-1").items) == 4
    assert [each.size_bytes for each in other.query(snapshots.page, "jam-1").items] == [1, 5]
    assert other.query(rules.revision, "jam-1") != revision
    assert other.query(sessions.get, "jam-1").last_activity_at == LATE
    assert import_vibeweaver(store, path).counts.new == 0


def test_a_second_vibeweaver_import_can_be_undone_alone_and_repeated(
    store: Store, other: Store, path: Path, clock: SettableClock
) -> None:
    import_vibeweaver(store, whole_jam(path))
    before, jam = content(other), other.query(sessions.get, "jam-1")
    clock.advance(days=1)
    grow(path)
    again = import_vibeweaver(store, path)
    grown = other.query(rules.revision, "jam-1")

    undo_all(store, again)

    after = other.query(sessions.get, "jam-1")
    assert {**content(other), "sessions": []} == {**before, "sessions": []}
    assert after.rules_rev not in {jam.rules_rev, grown}
    assert (after.last_activity_at, after.version, after.import_id) == (LATE, jam.version, jam.import_id)
    assert import_vibeweaver(store, path).counts.new == 5


def test_a_vibeweaver_import_adds_no_rows_to_a_session_made_here(store: Store, other: Store, path: Path) -> None:
    make(store, SessionFactory, id="jam-1")
    before = content(other)
    whole_jam(path)
    with closing(sqlite3.connect(path)) as theirs, theirs:
        theirs.execute("DELETE FROM generation_stats")

    report = import_vibeweaver(store, path)

    assert (report.counts.duplicate, report.counts.new) == (6, 0)
    assert content(other) == before


def test_an_undone_vibeweaver_import_removes_rows_dated_after_it(
    store: Store, other: Store, path: Path, clock: SettableClock
) -> None:
    before = content(other)
    later = (clock() + timedelta(days=9)).isoformat().replace("+00:00", "Z")
    vibeweaver_database(
        path, sessions=[{"id": "jam-1"}], markers=[{"id": "a", "session_id": "jam-1", "created_at": later}]
    )
    report = import_vibeweaver(store, path)

    undone = store.run(imports.undo, report.import_ids[0])

    assert (undone.sessions, undone.kept) == (1, 0)
    assert content(other) == before


SECRET = "sk-ant-api03-abcdefghijklmnop"


def jam_with_secrets(path: Path) -> Path:
    mine = {"session_id": "jam-1"}
    return vibeweaver_database(
        path,
        sessions=[{"id": "jam-1", "name": f"n {SECRET}", "vibe": f"v {SECRET}"}],
        rules=[
            {
                "id": "rule-1",
                **mine,
                "trigger_params": json.dumps({"type": "Marker", "name": SECRET}),
                "action_params": json.dumps({"type": "Notify", "message": SECRET}),
            }
        ],
        markers=[{"id": "a", **mine, "name": SECRET, "metadata": json.dumps({"api_key": "hush"})}],
        history=[{**mine, "params": json.dumps([SECRET]), "result": json.dumps({"said": SECRET})}],
    )


def test_a_vibeweaver_import_redacts_secrets_before_it_stores_them(store: Store, other: Store, path: Path) -> None:
    report = import_vibeweaver(store, jam_with_secrets(path))

    assert (report.counts.redacted, report.counts.new) == (8, 4)
    assert SECRET not in str(content(other))
    assert "hush" not in str(content(other))
    assert other.query(sessions.get, "jam-1").vibe == "v [redacted]"
    again = import_vibeweaver(store, path)
    assert (again.counts.new, again.counts.duplicate) == (0, 4)


def test_a_vibeweaver_import_keeps_secrets_if_asked_to(store: Store, other: Store, path: Path) -> None:
    report = import_vibeweaver(store, jam_with_secrets(path), redact=False)

    assert report.counts.redacted == 0
    assert other.query(history.page, "jam-1").items[0].params == [SECRET]


def test_the_report_of_a_vibeweaver_import_redacts_secrets(store: Store, other: Store, path: Path) -> None:
    vibeweaver_database(path, sessions=[{"id": "jam-1"}, {"id": SECRET, "created_at": SECRET}])

    report = import_vibeweaver(store, path)

    (reason,) = reasons(report)
    assert reason.startswith("sessions '[redacted]': created_at: must be a time")
    assert SECRET not in reason
    assert SECRET not in str(dump(other)["imports"])


def test_a_second_vibeweaver_import_adds_a_new_session(store: Store, other: Store, path: Path) -> None:
    import_vibeweaver(store, whole_jam(path))
    at = {"created_at": "2025-01-14T10:00:00Z"}
    write_rows(path, {}, sessions=[{"id": "jam-2", "name": "next", **at, "updated_at": at["created_at"]}])

    again = import_vibeweaver(store, path)

    assert (again.counts.new, again.counts.sessions) == (1, 1)
    assert other.query(sessions.get, "jam-2").import_id == again.import_ids[0]


def test_a_dry_run_of_a_vibeweaver_import_reports_the_same_and_writes_nothing(
    store: Store, other: Store, path: Path
) -> None:
    whole_jam(path)
    write_rows(path, {}, markers=[{"id": "x", "session_id": "y", "beat": 1, "name": "z", "created_at": "-"}])
    before = content(other)

    tried = import_vibeweaver(store, path, dry_run=True)

    assert content(other) == before
    assert other.query(imports.page).items == []
    done = import_vibeweaver(store, path)
    assert {**tried.as_document(), "seconds": 0} == {**done.as_document(), "seconds": 0, "dry_run": True, "imports": []}


def test_an_undone_vibeweaver_import_leaves_nothing_and_can_be_repeated(
    store: Store, other: Store, path: Path, jam_before: Session
) -> None:
    before = content(other)

    undo_all(store, import_vibeweaver(store, whole_jam(path)))

    assert content(other) == before
    assert import_vibeweaver(store, path).counts.new == 7


@pytest.fixture
def jam_before(store: Store) -> Session:
    with store.begin() as uow:
        rule = RuleFactory.create(uow=uow)
        return sessions.get(uow, rule.session_id)


class _BrokenOffError(Exception):
    pass


def test_a_vibeweaver_import_keeps_rows_before_an_error_and_can_continue(
    store: Store, other: Store, path: Path
) -> None:
    vibeweaver_database(path, sessions=[{"id": f"jam-{n}"} for n in range(10)])
    told: list[int] = []

    def break_off(count: int) -> None:
        told.append(count)
        if len(told) == 5:
            raise _BrokenOffError

    with pytest.raises(_BrokenOffError):
        import_vibeweaver(store, path, progress=break_off)

    (broken_off,) = other.query(imports.page).items
    assert (broken_off.status, broken_off.counts["new"]) == (ImportStatus.FAILED, 4)
    assert len(other.query(sessions.page).items) == 4
    again = import_vibeweaver(store, path)
    assert (again.counts.new, again.counts.duplicate) == (6, 4)


# --- columns that have no place here ---------------------------------------------------------------------------


def test_vibeweaver_columns_without_a_place_are_kept_and_told(store: Store, other: Store, path: Path) -> None:
    vibeweaver_database(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in ("sessions", "rules", "markers", "history", "kernel_snapshots", "generation_stats"):
            connection.execute(f"ALTER TABLE {table} ADD COLUMN colour TEXT")
    mine = {"session_id": "jam-1", "colour": "red"}
    write_rows(
        path,
        OF_VIBEWEAVER,
        sessions=[{"id": "jam-1", "colour": "blue"}],
        rules=[{"id": "rule-1", **mine}],
        markers=[{"id": "marker-1", **mine}, {"id": "marker-2", "session_id": "jam-1"}],
        history=[{"id": 7, **mine}],
        kernel_snapshots=[mine],
        generation_stats=[{"space": "drums", "colour": "red"}],
    )

    report = import_vibeweaver(store, path)

    kept = {"colour": "red"}
    expected = {
        "colour": "blue",
        "rules": {"rule-1": kept},
        "markers": {"marker-1": kept},
        "history": {"7": kept},
        "snapshots": {"jam-1": kept},
    }
    session = other.query(sessions.get, "jam-1")
    assert (session.attributes, session.version) == ({"vibeweaver": expected}, 1)
    assert [problem.reason for problem in report.problems] == [
        "generation_stats.colour was left out: there is no place for it here"
    ]
    told = "has no column here and is kept in the session's attributes"
    assert {note.text for note in report.notes} == {
        f"{table}.colour {told}" for table in ("sessions", "rules", "markers", "history", "snapshots")
    }
    again = import_vibeweaver(store, path)
    assert (again.unchanged, again.problems, again.notes) == (1, [], [])
    write_rows(path, OF_VIBEWEAVER, markers=[{"id": "marker-3", **mine}])
    import_vibeweaver(store, path)
    session = other.query(sessions.get, "jam-1")
    assert session.attributes["vibeweaver"]["markers"] == {"marker-1": kept, "marker-3": kept}
    assert (session.attributes["vibeweaver"]["rules"], session.version) == ({"rule-1": kept}, 2)


def test_vibeweaver_rows_left_out_for_want_of_their_session_come_with_it(
    store: Store, other: Store, path: Path
) -> None:
    mine = {"session_id": "jam-1"}
    vibeweaver_database(
        path, sessions=[{"id": "jam-1", "tempo_bpm": 0}], rules=[{"id": "r", **mine}], markers=[{"id": "m", **mine}]
    )
    first = import_vibeweaver(store, path)
    assert (first.problem_count, first.counts.new) == (3, 0)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE sessions SET tempo_bpm = 120")

    report = import_vibeweaver(store, path)

    assert (report.problems, report.counts.new) == ([], 3)
    assert [each.id for each in other.query(rules.page_by_session, "jam-1").items] == ["r"]
