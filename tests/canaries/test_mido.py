"""What the package relies on in mido: the functions by which it reads a file, which mido does not document."""

from __future__ import annotations

import io
from typing import Any

import pytest

from tests.canaries.canary import Library

canary = Library("mido")


class Counting(io.BytesIO):
    """A file that tells how much was read at a time."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.sizes: list[int | None] = []

    def read(self, size: int | None = -1, /) -> bytes:
        self.sizes.append(size)
        return super().read(size)


def functions() -> Any:
    from mido.midifiles import midifiles  # type: ignore[import-untyped]

    return midifiles


@canary("importers/midi.py", to="read the header of a file and of its tracks")
def test_headers_are_read_as_format_and_tracks_and_ticks_and_as_name_and_size() -> None:
    header = bytes.fromhex("4d546864 00000006 0001 0002 01e0")

    assert tuple(functions().read_file_header(io.BytesIO(header))) == (1, 2, 480)
    assert tuple(functions().read_chunk_header(io.BytesIO(b"MTrk\0\0\0\7"))) == (b"MTrk", 7)


@canary("importers/midi.py", to="say in plain words what is wrong with a file")
def test_a_header_that_is_none_is_an_error_that_names_it() -> None:
    with pytest.raises(OSError, match="MThd"):
        functions().read_file_header(io.BytesIO(b"RIFF\0\0\0\6" + bytes(6)))
    with pytest.raises(EOFError):
        functions().read_file_header(io.BytesIO(b"MThd"))


@canary("importers/midi.py", to="stop at a number that does not end")
def test_a_number_is_read_byte_by_byte() -> None:
    file = Counting(b"\x81\x80\x00rest")

    assert functions().read_variable_int(file) == 0x4000
    assert file.sizes == [1, 1, 1]
    assert functions().read_byte(file) == ord("r")


@canary("importers/midi.py", to="keep the tempo and the markers of a song")
def test_a_meta_message_tells_its_type_and_what_it_holds() -> None:
    def read(data: bytes) -> Any:
        return functions().read_meta_message(io.BytesIO(data), 3)

    tempo, marker, cue, name = (
        read(bytes([0x51, 3, 0x07, 0xA1, 0x20])),
        read(b"\x06\x02hi"),
        read(b"\x07\x02ho"),
        read(b"\x03\x02ha"),
    )
    assert (tempo.type, tempo.tempo) == ("set_tempo", 500_000)
    assert [(each.type, each.text) for each in (marker, cue)] == [("marker", "hi"), ("cue_marker", "ho")]
    assert (name.type, name.name) == ("track_name", "ha")
    assert read(b"\x06\x02\xc3\xa9").text == "Ã©"


@canary("importers/midi.py", to="keep the time of an event that mido has no name for")
def test_the_time_of_any_message_can_be_set() -> None:
    unknown = functions().read_meta_message(io.BytesIO(b"\x60\x01x"), 3)
    note = functions().read_message(io.BytesIO(b"\x3c\x40"), 0x90, [], 3)
    running = functions().read_message(io.BytesIO(b"\x40"), 0x90, [0x3C], 3)
    system = functions().read_sysex(io.BytesIO(b"\x02\x01\xf7"), 3)

    assert running == note
    for message in (unknown, note, system):
        message.time = 7
        assert message.time == 7


@canary("importers/midi.py", to="reject a damaged file, whatever mido meets in it")
def test_events_that_make_no_sense_raise_these_errors() -> None:
    from mido.midifiles.meta import KeySignatureError  # type: ignore[import-untyped]

    expected = (OSError, EOFError, ValueError, LookupError, KeySignatureError)
    damaged: list[Any] = [
        lambda: functions().read_message(io.BytesIO(b"\xff\xff"), 0x90, [], 0),
        lambda: functions().read_message(io.BytesIO(b""), 0x90, [], 0),
        lambda: functions().read_message(io.BytesIO(b"\1"), 0xF5, [], 0),
        lambda: functions().read_meta_message(io.BytesIO(b"\x59\x02\x7f\x07"), 0),
        lambda: functions().read_meta_message(io.BytesIO(b"\x51\x01\x00"), 0),
        lambda: functions().read_sysex(io.BytesIO(b"\x7f"), 0),
    ]
    for read in damaged:
        with pytest.raises(expected):
            read()
