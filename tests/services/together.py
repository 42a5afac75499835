"""Several processes that do the same to one database at once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_TOGETHER = """
import os, sys
from vibeweaver_store import Store, history, messages
database, session_id, processes, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

def work(process):
    with Store.open(database) as store:
        os.write(1, b"!")
        os.read(0, 1)  # all start together
        for number in range(count):
{work}

def run(process):
    try:
        work(process)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)

children = [os.fork() or run(process) for process in range(processes)]
sys.exit(any([os.waitpid(child, 0)[1] for child in children]))
"""


class Together:
    """Processes that wait for the word to begin."""

    def __init__(self, process: subprocess.Popen[bytes], processes: int) -> None:
        self._process = process
        self._processes = processes

    def begin(self) -> None:
        assert self._process.stdin is not None
        os.write(self._process.stdin.fileno(), b"!" * self._processes)


@contextmanager
def together(work: str, database: str, session_id: str, *, processes: int = 4, count: int) -> Iterator[Together]:
    """Have processes ready for the block, each with a store of its own; each has done its work after it.

    They are forked from one that has imported the package and opened nothing: to import it takes longer than the work.

    Args:
        work: what each does ``count`` times, with a ``store``, the number of its ``process`` and that of the time.
        database: where.
        session_id: what ``work`` writes to.
        processes: how many.
        count: how often.
    """
    lines = "\n".join(f"            {line}" for line in work.strip("\n").splitlines())
    script = _TOGETHER.replace("{work}", lines)
    command = [sys.executable, "-c", script, database, session_id, str(processes), str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(processes) == b"!" * processes
        yield Together(process, processes)
        assert process.wait(timeout=60) == 0
