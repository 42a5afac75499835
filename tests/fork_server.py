"""A process that has imported the package and opened nothing, and forks a child for each script it is given.

To start Python and import the package takes longer than most of what tests do in another process. A child is a process
of its own: it has its own file descriptors, locks, connections and signal handlers, and ends as any Python program.

It is run as ``python -P fork_server.py FD`` by :mod:`tests.spawning`, which sends requests through a socket: a JSON
document, its length before it, and four file descriptors: what the child has for standard input, output and error, and
where its end is told.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import struct
import sys
import warnings
from types import ModuleType
from typing import Any

LENGTH = struct.Struct("!I")

_PRELOADED = (
    *("asyncio", "json", "multiprocessing", "runpy", "subprocess"),
    *("aiosqlite", "alembic.config", "psycopg", "sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.ext.asyncio"),
    *("vibeweaver_store.cli.commands", "vibeweaver_store.upkeep", "vibeweaver_store.schema"),
)
"""What children use besides the names of the package."""


def preload() -> None:
    import importlib

    import vibeweaver_store

    for name in vibeweaver_store.__all__:
        getattr(vibeweaver_store, name)
    for module in _PRELOADED:
        importlib.import_module(module)
    from sqlalchemy.orm import configure_mappers

    from vibeweaver_store.cli.commands import COMMANDS

    for entry in COMMANDS.values():
        for name in entry.modules:
            importlib.import_module(f"vibeweaver_store.cli.{name}")
    configure_mappers()
    gc.collect()
    gc.freeze()


def serve(server: socket.socket) -> dict[str, Any]:
    """Fork a child for each request. Return in a child, with its request; end when the tests are over."""
    while True:
        header, descriptors, _, _ = socket.recv_fds(server, LENGTH.size, 4)
        if not header:
            os._exit(0)
        (length,) = LENGTH.unpack(header)
        request: dict[str, Any] = json.loads(_read(server, length))
        keeper = os.fork()
        if keeper == 0:
            server.close()
            if _become_child(descriptors):
                return request
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)
        # A keeper ends with its child, whom it alone can wait for; those that have ended are reaped here.
        while _reap():
            pass


def _read(server: socket.socket, length: int) -> bytes:
    parts = []
    while length:
        part = server.recv(length)
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _reap() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def _become_child(descriptors: list[int]) -> bool:
    """Fork again; the parent of this child waits for it and tells how it ended. Say whether this is the child."""
    told = descriptors.pop()
    child = os.fork()
    if child == 0:
        os.close(told)
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        return True
    for descriptor in (0, 1, 2, *descriptors):
        os.close(descriptor)
    os.write(told, f"{child}\n".encode())
    while True:
        _, status = os.waitpid(child, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            os.write(told, f"{os.waitstatus_to_exitcode(status)}\n".encode())
            return False
        os.write(told, b"stopped\n")


def prepare(request: dict[str, Any]) -> dict[str, Any]:
    """Make this process what a new one would be, and return the namespace for its script."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    encoding = os.environ.get("PYTHONIOENCODING")
    sys.stdin = os.fdopen(0, encoding=encoding, closefd=False)
    sys.stdout = os.fdopen(1, "w", buffering=1 if os.isatty(1) else -1, encoding=encoding, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding=encoding, errors="backslashreplace", closefd=False)
    sys.argv = ["-c", *request["arguments"]]
    sys.path[:0] = [os.fspath(path) for path in ("", *request["path"])]
    if request["warnings"]:
        warnings.simplefilter(request["warnings"])
    main = sys.modules["__main__"] = ModuleType("__main__")
    return vars(main)


if __name__ == "__main__":
    preload()
    asked = serve(socket.socket(fileno=int(sys.argv[1])))
    exec(compile(asked["script"], "<string>", "exec", dont_inherit=True), prepare(asked))
