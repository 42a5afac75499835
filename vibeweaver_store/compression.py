"""Files in gzip or zstd: packed in a stream, read back to prove it, and known by their first bytes, not their names."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, Final, Literal, TypeAlias

from vibeweaver_store.errors import CorruptData, InvalidInput, StoreUnavailable

Compression: TypeAlias = Literal["gzip", "zstd"]
Progress: TypeAlias = Callable[[str, int, int], None]
"""Told now and then what is being done, how much of it is done, and of how much in all (0 where nobody knows)."""

ENDINGS: Final[dict[Compression, str]] = {"gzip": ".gz", "zstd": ".zst"}
_MAGIC: Final[dict[Compression, bytes]] = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
_GZIP_LEVEL: Final = 6
_PART: Final = 1024 * 1024


def check_compression(compression: str | None) -> None:
    """Refuse what cannot be written here, before any work is done.

    Raises:
        InvalidInput: there is no such compression.
        StoreUnavailable: zstd is asked for and not installed.
    """
    if compression is not None and compression not in tuple(ENDINGS):
        raise InvalidInput(f"no compression {compression!r}; there are gzip and zstd", field="compress")
    if compression == "zstd":
        _zstandard()


def compression_of(path: Path) -> Compression | None:
    """Say how a file is compressed; ``None`` where it is not.

    Raises:
        StoreUnavailable: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            begin = file.read(max(map(len, _MAGIC.values())))
    except OSError as error:
        raise StoreUnavailable(f"{path}: cannot be read: {error.strerror}") from error
    return next((name for name, magic in _MAGIC.items() if begin.startswith(magic)), None)


def pack(source: Path, packed: Path, compression: Compression, progress: Progress) -> None:
    """Compress a file into another one, and read that back to see that it gives the same bytes.

    Raises:
        OSError: the disk does not take it.
        CorruptData: it gave other bytes.
        StoreUnavailable: zstandard is not installed.
    """
    total = source.stat().st_size
    with source.open("rb") as plain, packed.open("wb") as file, _writer(file, compression) as writer:
        written = _pour(plain, writer.write, "compressing", total, progress)
    with packed.open("rb") as again, _reader(again, compression) as reader:
        read = _pour(reader, len, "reading back", total, progress)
    if read != written:
        raise CorruptData(f"{packed}: what was compressed cannot be read back; the disk or the memory is at fault")


def unpack(packed: Path, plain: Path, compression: Compression, progress: Progress) -> None:
    """Decompress a file into another one.

    Raises:
        CorruptData: it is damaged or cut short.
        OSError: the disk does not take it.
        StoreUnavailable: zstandard is not installed.
    """
    try:
        with packed.open("rb") as file, _reader(file, compression) as reader, plain.open("wb") as target:
            _pour(reader, target.write, "decompressing", 0, progress)
    except _errors(compression) as error:
        raise CorruptData(f"{packed}: the file is damaged or cut short ({error})") from error


def _pour(source: Any, take: Callable[[bytes], object], doing: str, total: int, progress: Progress) -> str:
    """Read to the end, hand on each part, and return the digest of all."""
    digest, done = hashlib.sha256(), 0
    while part := source.read(_PART):
        take(part)
        digest.update(part)
        done += len(part)
        progress(doing, done, total)
    return digest.hexdigest()


@contextmanager
def _writer(file: BinaryIO, compression: Compression) -> Iterator[Any]:
    if compression == "gzip":
        # Without the temporary file's name and time in its header: the same backup gives the same bytes.
        with gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0) as packing:
            yield packing
    else:
        compressor = _zstandard().ZstdCompressor(write_checksum=True)
        with compressor.stream_writer(file, closefd=False) as writer:
            yield writer


@contextmanager
def _reader(file: BinaryIO, compression: Compression) -> Iterator[Any]:
    if compression == "gzip":
        with gzip.GzipFile(fileobj=file, mode="rb") as reader:
            yield reader
    else:
        with _zstandard().ZstdDecompressor().stream_reader(file, read_across_frames=True, closefd=False) as reader:
            yield reader


def _errors(compression: Compression) -> tuple[type[Exception], ...]:
    return (EOFError, zlib.error, gzip.BadGzipFile) if compression == "gzip" else (_zstandard().ZstdError,)


def _zstandard() -> ModuleType:
    try:
        import zstandard  # noqa: PLC0415 - optional
    except ModuleNotFoundError as error:
        raise StoreUnavailable("zstd needs the package zstandard: pip install 'vibeweaver-store[zstd]'") from error
    return zstandard
