"""A song becomes a session: name, tempo, markers, and a line of history that says where it came from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vibeweaver_store import Store, actions, history, markers, rules, sessions, triggers
from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.importers.midi import Song, SongMarker, read_song
from vibeweaver_store.importers.songs import MAX_TEMPO_CHANGES_TOLD, import_song, starter_rules
from vibeweaver_store.models import HistoryEntry
from vibeweaver_store.services.transport import TempoChange, Timeline, play
from vibeweaver_store.songs import ODE_TO_JOY

SONG = Song(
    name="Ode",
    source="ode.mid",
    sha256="0" * 64,
    duration_seconds=5.5,
    timeline=Timeline(8, (TempoChange(0, 120), TempoChange(4, 60))),
    markers=(SongMarker(0, "Verse"), SongMarker(6, "Chorus"), SongMarker(7, "Verse")),
)


def imported(store: Store, session_id: str) -> HistoryEntry:
    (entry,) = store.query(history.page, session_id).items
    return entry


def test_an_imported_song_gives_its_session_name_and_first_tempo(store: Store, other: Store) -> None:
    session = store.run(import_song, SONG, vibe="solemn")

    found = other.query(sessions.get, session.id)
    assert (found.name, found.vibe, found.tempo_bpm) == ("Ode", "solemn", 120)


def test_markers_of_an_imported_song_have_their_tempo_and_time(store: Store, other: Store) -> None:
    session = store.run(import_song, SONG)

    found = other.query(markers.page, session.id).items
    assert [(marker.beat, marker.name, marker.metadata_) for marker in found] == [
        (0, "Verse", {"tempo_bpm": 120, "seconds": 0}),
        (6, "Chorus", {"tempo_bpm": 60, "seconds": 4}),
        (7, "Verse", {"tempo_bpm": 60, "seconds": 5}),
    ]


def test_an_imported_song_is_recorded_in_history_with_its_source(store: Store, other: Store) -> None:
    entry = imported(other, store.run(import_song, SONG).id)

    assert entry.action == "song.imported"
    assert entry.params == {
        "source": "ode.mid",
        "sha256": "0" * 64,
        "beats": 8,
        "duration_seconds": 5.5,
        "tempo_map": [{"beat": 0, "tempo_bpm": 120}, {"beat": 4, "tempo_bpm": 60}],
        "tempo_changes": 2,
        "markers": 3,
    }


def test_history_lists_the_first_thousand_tempos_of_a_song_and_counts_all(store: Store) -> None:
    restless = Timeline(8, tuple(TempoChange(n / 1000, 60 + n % 2) for n in range(3000)))

    params = imported(store, store.run(import_song, replace(SONG, timeline=restless)).id).params or {}

    assert (len(params["tempo_map"]), params["tempo_changes"]) == (MAX_TEMPO_CHANGES_TOLD, 3000)


def test_a_failed_song_import_leaves_nothing(store: Store, other: Store) -> None:
    with pytest.raises(InvalidInput):
        store.run(import_song, SONG, vibe="\ud800")

    assert other.query(sessions.page).items == []


def test_a_song_import_rolls_back_with_its_unit_of_work(store: Store, other: Store) -> None:
    with pytest.raises(RuntimeError), store.begin() as uow:
        import_song(uow, SONG)
        raise RuntimeError

    assert other.query(sessions.page).items == []


# --- starter rules ---------------------------------------------------------------------------------------------


def test_starter_rules_have_one_rule_per_marker_name_up_to_eight() -> None:
    many = replace(SONG, markers=tuple(SongMarker(n, f"part {n % 12}") for n in range(24)))

    names = [rule.trigger.name for rule in starter_rules(many) if isinstance(rule.trigger, triggers.Marker)]

    assert names == [f"part {n}" for n in range(8)]


def test_starter_rules_want_a_sample_by_the_last_marker() -> None:
    (deadline,) = [rule for rule in starter_rules(SONG) if isinstance(rule.trigger, triggers.Deadline)]

    assert deadline.trigger == triggers.Deadline(beat=7)
    assert isinstance(deadline.action, actions.Sample)


def test_every_starter_rule_fires_on_the_packaged_song(store: Store) -> None:
    song = read_song(ODE_TO_JOY)
    session = store.run(import_song, song)
    added = store.run(rules.add_many, session.id, starter_rules(song))

    played = play(store, session.id, song.timeline)

    assert set(played.by_rule) == {rule.id for rule in added}
    assert (played.deadlines, played.by_rule[added[0].id]) == (1, 1)
