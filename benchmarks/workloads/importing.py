"""Bringing in transcripts of coding agents: what is new, and what is in already."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from uuid import UUID

from benchmarks.rows import OURS, Row, Taken, whole
from benchmarks.stage import Stage
from vibeweaver_store import Store
from vibeweaver_store.importers import import_claude_code

MEGABYTES = 32
FILES = 32
WORDS = ("drop", "filter", "cutoff", "four on the floor", "bar", "mix", "render", "bassline", "hi-hat", "sidechain")


def rows(stage: Stage) -> Iterator[Row]:
    folder = stage.make_folder()
    size = write_transcripts(folder, stage.scaled(MEGABYTES) * 1_000_000) / 1e6
    with Store.open(stage.copy("imported", stage.templates.empty)) as store:

        def bring_in() -> Taken:
            started = time.perf_counter()
            report = import_claude_code(store, [folder])
            seconds = time.perf_counter() - started
            return Taken([size / seconds], f"{len(report.problems)} left out" if report.problems else "")

        for name in ("new", "already in"):
            yield Row(f"import of transcripts, {name}", {OURS: whole(bring_in)}, unit="MB/s", calls=1, chunks=1, warm=0)


def write_transcripts(folder: Path, size: int) -> int:
    """Write files of so many bytes together, and return how many there are."""
    chance = random.Random(7)
    written = 0
    for _ in range(FILES):
        session = str(UUID(int=chance.getrandbits(128), version=4))
        path = folder / f"{session}.jsonl"
        with path.open("w") as file:
            while file.tell() < size / FILES:
                file.writelines(json.dumps(line) + "\n" for line in _exchange(chance, session))
        written += path.stat().st_size
    return written


def _exchange(chance: random.Random, session: str) -> Iterator[dict[str, object]]:
    """A call of a tool with what came of it, as such files are made of in the main."""
    asked, answered = (str(UUID(int=chance.getrandbits(128), version=4)) for _ in range(2))
    common = {"sessionId": session, "cwd": "/srv/late-set", "version": "2.0.0", "gitBranch": "main"}
    usage = {"input_tokens": 3, "output_tokens": 250, "cache_read_input_tokens": 20_000}
    call = {"type": "tool_use", "id": f"toolu_{asked[:8]}", "name": "Bash", "input": {"command": text(chance, 120)}}
    said = {"type": "text", "text": text(chance, 400)}
    message = {"id": f"msg_{asked[:8]}", "role": "assistant", "model": "claude-opus", "usage": usage}
    yield {
        **common,
        "type": "assistant",
        "uuid": asked,
        "parentUuid": None,
        "timestamp": "2026-01-01T00:00:00.000Z",
        "message": {**message, "content": [said, call]},
    }
    result = {
        "type": "tool_result",
        "tool_use_id": call["id"],
        "content": text(chance, chance.choice((300, 3000, 9000))),
    }
    yield {
        **common,
        "type": "user",
        "uuid": answered,
        "parentUuid": asked,
        "timestamp": "2026-01-01T00:00:01.000Z",
        "message": {"role": "user", "content": [result]},
    }


@cache
def _vocabulary() -> str:
    chance = random.Random(11)
    return " ".join(chance.choice(WORDS) for _ in range(20_000))


def text(chance: random.Random, length: int) -> str:
    start = chance.randrange(len(_vocabulary()) - length)
    return _vocabulary()[start : start + length].replace(" bar ", "\n")
