"""SQLite in C: builds ``reference.c`` and talks to it."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.rows import Chunk, Missing, Taken

SOURCE = Path(__file__).with_name("reference.c")
CACHE = Path(__file__).parents[1] / ".nox" / "bench-reference"


@cache
def program() -> Path | Missing:
    """The program, built when its source has changed; or why there is none."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return Missing("no C compiler")
    built = CACHE / f"reference-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]}"
    if built.exists():
        return built
    CACHE.mkdir(parents=True, exist_ok=True)
    command = [compiler, "-O2", "-o", str(built), str(SOURCE), "-lsqlite3", "-lpthread"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return built
    print(done.stderr, file=sys.stderr)
    return Missing("reference.c does not build; is sqlite3.h there?")


class Reference:
    """The program at work on one file. In its ``percall`` manner the file is held open, as in a living system."""

    def __init__(self, path: Path, session_id: str, manner: str = "kept") -> None:
        self.missing = program()
        if isinstance(self.missing, Missing):
            return
        self._process = subprocess.Popen(
            [self.missing, manner], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self._holder = sqlite3.connect(path, isolation_level=None)
        self._holder.execute("SELECT count(*) FROM sessions").fetchall()
        self.ask(f"open {path} {session_id}")

    def ask(self, command: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(command + "\n")
        answer = json.loads(self._process.stdout.readline() or '{"error": "the program has ended"}')
        if "error" in answer:
            raise RuntimeError(f"{command}: {answer['error']}")
        return dict(answer)

    def chunk(self, name: str, number: int = 0) -> Chunk | Missing:
        """Calls of this name, in µs."""
        if isinstance(self.missing, Missing):
            return self.missing
        return lambda calls: Taken([each / 1e3 for each in self.ask(f"chunk {name} {calls} {number}")["ns"]])

    def close(self) -> None:
        if isinstance(self.missing, Missing):
            return
        self._process.communicate("quit\n")
        self._holder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
