"""Starting processes in tests: who may, how, and what becomes of those that are left."""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from tests.fork_server import LENGTH

PATIENCE_SECONDS: Final = 60.0
"""How long a process is waited for: far longer than any takes, on a machine that is busy too."""

# --- who may ---------------------------------------------------------------------------------------------------

_STARTS: Final = frozenset({"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"})
"""What Python tells audit hooks before it starts a process; https://docs.python.org/3/library/audit_events.html."""


class _Guard:
    """Whether a test runs now, and how many that run have asked for processes."""

    def __init__(self) -> None:
        self.testing = False
        self.asked = 0
        self._installed = False

    def install(self) -> None:
        """Look at what Python does from now on. An audit hook stays until the process ends."""
        if not self._installed:
            self._installed = True
            sys.addaudithook(self._audit)

    def _audit(self, event: str, _arguments: object) -> None:
        if event in _STARTS and self.testing and not self.asked:
            raise RuntimeError(f"this test starts a process ({event}); ask for the fixture `processes`")


_GUARD: Final = _Guard()


@contextmanager
def refusing_processes() -> Iterator[None]:
    """Let a process be started during the block only within :func:`starting_processes`."""
    _GUARD.install()
    _GUARD.testing = True
    try:
        yield
    finally:
        _GUARD.testing = False


@contextmanager
def starting_processes() -> Iterator[None]:
    """Let processes be started during the block: for a fixture of a module or of the whole run."""
    _GUARD.asked += 1
    try:
        yield
    finally:
        _GUARD.asked -= 1


# --- one process -----------------------------------------------------------------------------------------------


class Process(ABC):
    """A process that a test has started, with pipes to its input and from its output.

    Attributes:
        pid: its number.
        stdin: what it reads.
        stdout: what it has written.
        returncode: how it ended: its exit code, or below zero the signal that killed it; nothing while it runs.
    """

    pid: int
    stdin: IO[str]
    stdout: IO[str]
    returncode: int | None = None

    def __init__(self) -> None:
        # A file: what is not read does not stop the process, as a pipe that is full would.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    @abstractmethod
    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait until it has ended, and return how.

        Raises:
            TimeoutError: it still runs.
        """

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        try:
            self.wait(0)
        except TimeoutError:
            return True
        return False

    @property
    def stderr(self) -> str:
        """What it has written to standard error until now."""
        size = os.fstat(self._errors.fileno()).st_size
        return os.pread(self._errors.fileno(), size, 0).decode()

    def read_line(self) -> str:
        """Read a line that it writes, without its end; nothing where it has ended."""
        with self._not_for_ever():
            return self.stdout.readline().rstrip("\n")

    def write_line(self, line: str = "go") -> None:
        self.stdin.write(f"{line}\n")
        self.stdin.flush()

    def send_signal(self, number: int) -> None:
        if self.runs:
            os.kill(self.pid, number)

    def pause(self) -> None:
        """Stop it, as a terminal does with Ctrl-Z, until it is told to go on."""
        self.send_signal(signal.SIGSTOP)
        self._await_stop()

    @abstractmethod
    def _await_stop(self) -> None: ...

    def go_on(self) -> None:
        """Let it go on after a pause."""
        self.send_signal(signal.SIGCONT)

    def kill(self) -> str:
        """End it as a power cut would, and return what it had written that was not read."""
        self.send_signal(signal.SIGKILL)
        return self.read_to_end()

    def read_to_end(self, seconds: float = PATIENCE_SECONDS) -> str:
        """Close its input, wait until it has ended, and return what it has written. After so long it is killed."""
        with self._not_for_ever(seconds):
            self._close_input()
            written = self.stdout.read()
            self.wait()
        return written

    def finish(self, seconds: float = PATIENCE_SECONDS) -> str:
        """Wait until it has ended, and return what it has written.

        Raises:
            AssertionError: it did not end with 0.
        """
        written = self.read_to_end(seconds)
        assert self.returncode == 0, (self.returncode, written, self.stderr)
        return written

    def end(self) -> bool:
        """Kill it if it runs, and let go of it; say whether it did."""
        ran = self.runs
        if ran:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
        self._close_input()
        self.stdout.close()
        self._errors.close()
        return ran

    def _close_input(self) -> None:
        with suppress(BrokenPipeError):  # it has ended, and did not read all of it
            self.stdin.close()

    @contextmanager
    def _not_for_ever(self, seconds: float = PATIENCE_SECONDS) -> Iterator[None]:
        killer = threading.Timer(seconds, os.kill, [self.pid, signal.SIGKILL])
        killer.start()
        try:
            yield
        finally:
            killer.cancel()


class _Executed(Process):
    """A process that runs a command."""

    def __init__(self, command: Sequence[str], **options: Any) -> None:
        super().__init__()
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self._errors}
        self._process = subprocess.Popen(command, text=True, **{**pipes, **options})
        self.pid = self._process.pid
        # Where the test gave a file instead, there is nothing to write or read here.
        self.stdin = self._process.stdin or StringIO()
        self.stdout = self._process.stdout or StringIO()

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        try:
            self.returncode = self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"process {self.pid} still runs") from error
        return self.returncode

    def _await_stop(self) -> None:
        os.waitpid(self.pid, os.WUNTRACED)


class _Forked(Process):
    """A child of the fork server."""

    def __init__(self, server: _ForkServer, request: dict[str, Any], terminal: int | None) -> None:
        super().__init__()
        pipes = [os.pipe() for _ in range(3)]
        (child_in, to_child), (from_child, child_out), (self._told, child_told) = pipes
        streams = [child_in, child_out, self._errors.fileno()] if terminal is None else [terminal] * 3
        try:
            server.ask(request, [*streams, child_told])
        finally:
            for descriptor in (child_in, child_out, child_told):
                os.close(descriptor)
        self.stdin, self.stdout = os.fdopen(to_child, "w"), os.fdopen(from_child)
        self._heard = b""
        self.pid = int(self._hear(PATIENCE_SECONDS))

    def _hear(self, seconds: float) -> str:
        """Return the next line that is told of it.

        Raises:
            TimeoutError: nothing is.
        """
        until = time.monotonic() + seconds
        while b"\n" not in self._heard:
            if not select.select([self._told], [], [], max(0.0, until - time.monotonic()))[0]:
                raise TimeoutError(f"process {self.pid} still runs")
            part = os.read(self._told, 1000)
            assert part, "the fork server is gone"
            self._heard += part
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode()

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        until = time.monotonic() + seconds
        while self.returncode is None:
            said = self._hear(max(0.0, until - time.monotonic()))
            if said != "stopped":
                self.returncode = int(said)
        return self.returncode

    def _await_stop(self) -> None:
        assert self._hear(PATIENCE_SECONDS) == "stopped"

    def end(self) -> bool:
        ran = super().end()
        if self._told >= 0:
            os.close(self._told)
            self._told = -1
        return ran


class _ForkServer:
    """The process that forks others, see :mod:`tests.fork_server`; it begins when it is first asked for one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.process: subprocess.Popen[bytes] | None = None

    def ask(self, request: dict[str, Any], descriptors: Sequence[int]) -> None:
        with self._lock:
            if self._socket is None:
                self._socket = self._begin()
            document = json.dumps(request).encode()
            socket.send_fds(self._socket, [LENGTH.pack(len(document))], descriptors)
            self._socket.sendall(document)

    def _begin(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        program = Path(__file__).with_name("fork_server.py")
        command = [sys.executable, "-P", str(program), str(theirs.fileno())]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("VIBEWEAVER_")}
        with theirs:
            self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment)
        atexit.register(self._end)
        return ours

    def _end(self) -> None:
        if self._socket is not None and self.process is not None:
            self._socket.close()
            self.process.wait()


_FORK_SERVER: Final = _ForkServer()

PROGRAM: Final = "import runpy; runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"


# --- the processes of a test -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


@dataclass
class Processes:
    """Starts processes for a test, and remembers them."""

    started: list[Process] = field(default_factory=list)

    def start(
        self,
        script: str,
        *arguments: object,
        folder: Path | None = None,
        path: Sequence[Path] = (),
        environment: Mapping[str, str] | None = None,
        warnings: str | None = None,
        terminal: int | None = None,
    ) -> Process:
        """Start a Python script in a process that has imported the package already.

        Args:
            script: its text.
            arguments: its ``sys.argv``, after the first.
            folder: where it runs; here unless given.
            path: folders that it imports from besides.
            environment: its variables; those of the test unless given.
            warnings: what it does with all warnings: ``error``, ``ignore``; by default what Python does.
            terminal: the descriptor of a terminal that it reads and writes, in place of pipes.
        """
        request = {
            "script": script,
            "arguments": list(map(str, arguments)),
            "folder": str(folder or Path.cwd()),
            "path": list(map(str, path)),
            "environment": dict(os.environ if environment is None else environment),
            "warnings": warnings,
        }
        with starting_processes():
            return self._remember(_Forked(_FORK_SERVER, request, terminal))

    def start_module(self, module: str, *arguments: object, **options: Any) -> Process:
        """Start what ``python -m MODULE`` runs, as :meth:`start` does."""
        return self.start(PROGRAM.format(module=module), *arguments, **options)

    def execute(self, *command: object, **options: Any) -> Process:
        """Start a command in a process that is new in every way; ``options`` are those of ``subprocess.Popen``."""
        with starting_processes():
            return self._remember(_Executed(list(map(str, command)), **options))

    def call(self, *command: object, **options: Any) -> Ended:
        """Run a command as :meth:`execute` does, to its end."""
        return self._ended(self.execute(*command, **options))

    def run(self, script: str, *arguments: object, **options: Any) -> Ended:
        """Run a script as :meth:`start` does, to its end."""
        return self._ended(self.start(script, *arguments, **options))

    def run_module(self, module: str, *arguments: object, **options: Any) -> Ended:
        """Run what ``python -m MODULE`` runs, to its end."""
        return self._ended(self.start_module(module, *arguments, **options))

    def _remember(self, process: Process) -> Process:
        self.started.append(process)
        return process

    def _ended(self, process: Process) -> Ended:
        written = process.read_to_end()
        assert process.returncode is not None
        return Ended(process.returncode, written, process.stderr)

    def in_child(self, work: Callable[[], object]) -> str:
        """Run work in a child that this process forks, and return what it returned or raised, as text."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                told = str(work())
            except BaseException as error:  # noqa: BLE001 - whatever it is, the parent is told
                told = f"{type(error).__name__}: {error}"
            os.write(writing, told.encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            told = pipe.read()
        os.waitpid(child, 0)
        return told

    def end(self) -> list[int]:
        """Kill what was left running, and return the numbers of those processes."""
        return [process.pid for process in self.started if process.end()]


@contextmanager
def processes_that_end() -> Iterator[Processes]:
    """Help with processes that are started during the block, and end with it.

    Raises:
        AssertionError: a process was left running, or a child that nobody waited for; it was killed.
    """
    before = _children()
    processes = Processes()
    try:
        yield processes
    finally:
        left = [*processes.end(), *_end_children(_children() - before)]
    assert not left, f"these processes were left running: {left}; a test ends each one that it starts"


def _listed(path: Path) -> list[int]:
    with suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended
        return [int(pid) for pid in path.read_text().split()]
    return []


def _children() -> set[int]:
    """The numbers of this process's children, but for the fork server, where the system tells."""
    server = _FORK_SERVER.process
    found = {pid for path in Path("/proc/self/task").glob("*/children") for pid in _listed(path)}
    return found - ({server.pid} if server is not None else set())


def _end_children(left: set[int]) -> list[int]:
    for pid in left:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return sorted(left)


def go(processes: Sequence[Process]) -> None:
    """Let processes go on together that wait for a line."""
    for process in processes:
        process.write_line()
