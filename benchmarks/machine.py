"""What it was measured on, without names of hosts or folders."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.options import Options
from benchmarks.peers import CONVERSATIONS, POSTGRES_QUEUES, QUEUES, load
from benchmarks.rows import Missing

OURS = ("vibeweaver-store", "sqlalchemy", "sqlmodel", "pydantic", "orjson", "psycopg", "aiosqlite")
PEERS = {
    "openai-agents": CONVERSATIONS["OpenAI Agents SDK, SQLite"],
    "langgraph-checkpoint-sqlite": CONVERSATIONS["LangGraph SqliteSaver"],
    "google-adk": CONVERSATIONS["Google ADK DatabaseSessionService"],
    "huey": QUEUES["huey"],
    "litequeue": QUEUES["litequeue"],
    "persist-queue": QUEUES["persist-queue"],
    "procrastinate": POSTGRES_QUEUES["procrastinate"],
    "pgqueuer": POSTGRES_QUEUES["pgqueuer"],
}


def described(options: Options) -> dict[str, str]:
    told = {
        "processor": f"{_processor()}, {os.cpu_count()} of its cores",
        "memory": f"{_memory_gigabytes():.0f} GB",
        "files": _file_system(options.folder),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "Python": platform.python_version(),
        "SQLite": f"{sqlite3.sqlite_version} in Python{_sqlite_in_c()}",
        "packages": _versions(OURS),
        "peers": _versions(name for name, where in PEERS.items() if not isinstance(load(where), Missing)),
    }
    return {name: value for name, value in told.items() if value}


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found.group(1) if found else platform.processor() or platform.machine()


def _memory_gigabytes() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def _file_system(folder: Path) -> str:
    """The kind of the file system that a folder is on."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    above = [(place, kind) for place, kind in mounts if folder.resolve().is_relative_to(place)]
    return max(above, key=lambda mount: len(mount[0]))[1]


def _sqlite_in_c() -> str:
    command = ("pkg-config", "--modversion", "sqlite3")
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f", {told} in C"


def _versions(names: object) -> str:
    return ", ".join(f"{name} {found}" for name in names if (found := _version(name)))  # type: ignore[attr-defined]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
