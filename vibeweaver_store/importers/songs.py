"""Puts a :class:`~vibeweaver_store.importers.midi.Song` into a store: a jam session, its markers, and how it came."""

from __future__ import annotations

from itertools import islice
from typing import Final

from vibeweaver_store.importers.midi import Song, SongMarker
from vibeweaver_store.models import Priority, Session, actions, triggers
from vibeweaver_store.services import history, markers, sessions
from vibeweaver_store.services.markers import NewMarker
from vibeweaver_store.services.rules import NewRule
from vibeweaver_store.services.transport import Timeline
from vibeweaver_store.unit_of_work import UnitOfWork

IMPORTED: Final = "song.imported"
"""The action under which an import stands in history."""

MAX_TEMPO_CHANGES_TOLD: Final = 1000
MAX_MARKERS_WITH_RULES: Final = 8


def import_song(uow: UnitOfWork, song: Song, *, vibe: str | None = None) -> Session:
    """Make a jam session of a song, all in the caller's unit of work.

    The session has the song's name and its first tempo. Each marker's metadata says the tempo there (``tempo_bpm``)
    and when it is reached (``seconds``, counted from beat 0). One history entry, ``song.imported``, says where it came
    from; its ``tempo_map`` holds the first 1,000 changes, ``tempo_changes`` counts them all. Of a song with a pick-up
    it has the ``first_beat``, too.

    Args:
        uow: the unit of work to write in.
        song: what :func:`~vibeweaver_store.importers.midi.read_song` gave.
        vibe: the session's mood, in free words.

    Raises:
        InvalidInput: the vibe is not text that can be stored.
    """
    timeline = song.timeline
    session = sessions.create(uow, name=song.name, vibe=vibe, tempo_bpm=timeline.tempo_at(timeline.first_beat))
    markers.add_many(uow, session.id, [_marker(each, timeline) for each in song.markers])
    told = islice(timeline.tempo_map, MAX_TEMPO_CHANGES_TOLD)
    params = {
        "source": song.source,
        "sha256": song.sha256,
        **({"first_beat": timeline.first_beat} if timeline.first_beat else {}),
        "beats": timeline.beats,
        "duration_seconds": song.duration_seconds,
        "tempo_map": [{"beat": change.beat, "tempo_bpm": change.tempo_bpm} for change in told],
        "tempo_changes": len(timeline.tempo_map),
        "markers": len(song.markers),
    }
    history.append(uow, session.id, IMPORTED, params=params)
    return session


def _marker(each: SongMarker, timeline: Timeline) -> NewMarker:
    metadata = {"tempo_bpm": timeline.tempo_at(each.beat), "seconds": round(timeline.seconds_at(each.beat), 6)}
    return NewMarker(each.beat, each.name, metadata)


def starter_rules(song: Song) -> list[NewRule]:
    """Return a few rules to hear a song by, one of each kind that a transport alone can fire.

    A greeting when the transport starts (once), a note each bar, a sample every four bars, a note at each of the
    first eight differently named markers, and a sample that must be ready by the last marker.
    """
    last = song.markers[-1]
    names = islice(dict.fromkeys(each.name for each in song.markers), MAX_MARKERS_WITH_RULES)
    return [
        NewRule(
            triggers.Transport(state="playing"),
            actions.Notify(message=f"{song.name} begins"),
            Priority.HIGH,
            one_shot=True,
        ),
        NewRule(triggers.Beat(divisor=4), actions.Notify(message="bar"), Priority.LOW),
        NewRule(triggers.Beat(divisor=16), actions.Sample(space="drums", prompt="a fill")),
        *[NewRule(triggers.Marker(name=name), actions.Notify(message=name), Priority.HIGH) for name in names],
        NewRule(
            triggers.Deadline(beat=last.beat),
            actions.Sample(space="pads", prompt=f"lead into {last.name}"),
            Priority.CRITICAL,
        ),
    ]
