"""What a database is called: each spelling means the file that it means elsewhere, or is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from vibeweaver_store import InvalidInput, Settings, Store, sessions
from vibeweaver_store.engine import resolve
from vibeweaver_store.settings import load

PASSWORD = "s3cr3t-w0rd"

Opening = Callable[[str, pytest.MonkeyPatch], Path | None]


def by_argument(name: str, _patch: pytest.MonkeyPatch) -> Path | None:
    return resolve(name, Settings()).path


def by_environment(name: str, patch: pytest.MonkeyPatch) -> Path | None:
    patch.setenv("VIBEWEAVER_DATABASE", name)
    return resolve(None, load()).path


everywhere = pytest.mark.parametrize("opening", [by_argument, by_environment], ids=["argument", "environment"])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder, beside the working folder; nothing is in either."""
    home, work = tmp_path.resolve() / "home", tmp_path.resolve() / "work"
    home.mkdir()
    work.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("MUSIC", str(home / "music"))
    monkeypatch.chdir(work)
    return home


# The seeds' spellings


@everywhere
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("sqlite:$HOME/.ait42/sessions.db", "home/.ait42/sessions.db"),  # seed 002, in a file that no shell reads
        ("sqlite:${HOME}/.ait42/sessions.db", "home/.ait42/sessions.db"),
        ("sqlite:~/.ait42/sessions.db", "home/.ait42/sessions.db"),
        ("sqlite://~/.ait42/sessions.db", "home/.ait42/sessions.db"),
        ("sqlite://$HOME/.ait42/sessions.db", "home/.ait42/sessions.db"),
        ("sqlite:///~/.ait42/sessions.db", "home/.ait42/sessions.db"),
        ("sqlite:///$HOME/.ait42/sessions.db", "home/.ait42/sessions.db"),
        ("$HOME/.ait42/sessions.db", "home/.ait42/sessions.db"),
        ("~/.ait42/sessions.db", "home/.ait42/sessions.db"),
        ("sqlite:{tmp}/test.db", "test.db"),  # seed 003
        ("sqlite:///{tmp}/test.db", "test.db"),
        ("sqlite:sessions.db", "work/sessions.db"),
        ("sqlite:./sessions.db", "work/sessions.db"),
        ("sqlite:../sessions.db", "sessions.db"),
        ("sqlite:new/sessions.db", "work/new/sessions.db"),
        ("sqlite://sessions.db", "work/sessions.db"),
        ("sqlite://./new/sessions.db", "work/new/sessions.db"),
        ("sqlite:///sessions.db", "work/sessions.db"),
        ("sqlite:///./sessions.db", "work/sessions.db"),
        ("SQLite:sessions.db", "work/sessions.db"),
        ("sqlite+pysqlite:sessions.db", "work/sessions.db"),
        ("sqlite+aiosqlite:///sessions.db", "work/sessions.db"),
        ("sqlite:a%20b.db", "work/a b.db"),
        ("sqlite:{tmp}/what%3F.db", "what?.db"),
        ("sqlite:100%.db", "work/100%.db"),
        ("sqlite:$MUSIC/set.db", "home/music/set.db"),
        ("$MUSIC/set.db", "home/music/set.db"),
        ("./$MUSIC/set.db", "work/$MUSIC/set.db"),
        ("./sqlite:sessions.db", "work/sqlite:sessions.db"),
        ("./jam 18:30.db", "work/jam 18:30.db"),
        ("./host=1.db", "work/host=1.db"),
        ("2026-11-29T18:30.db", "work/2026-11-29T18:30.db"),
    ],
)
def test_ait42_each_spelling_of_an_sqlite_file_means_that_file(
    home: Path, monkeypatch: pytest.MonkeyPatch, opening: Opening, name: str, file: str
) -> None:
    folder = home.parent
    assert opening(name.replace("{tmp}", str(folder)), monkeypatch) == folder / file


@everywhere
@pytest.mark.parametrize(
    "name", ["sqlite::memory:", "sqlite://:memory:", "sqlite:///:memory:", "sqlite://", ":memory:"]
)
def test_ait42_each_spelling_of_a_database_in_memory_means_one(
    home: Path, monkeypatch: pytest.MonkeyPatch, opening: Opening, name: str
) -> None:
    monkeypatch.setenv("VIBEWEAVER_DATABASE", name)
    target = resolve(name if opening is by_argument else None, load())
    assert target.temporary
    assert not target.file.is_relative_to(home.parent)


def test_ait42_a_store_at_the_url_of_the_seed_makes_that_file_and_nothing_else(home: Path) -> None:
    with Store.open("sqlite:$HOME/.ait42/sessions.db") as store:
        store.run(sessions.create, name="late set")
    assert (home / ".ait42" / "sessions.db").is_file()
    assert list(Path.cwd().iterdir()) == []


# Refusals


@everywhere
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("postgres:late", "'postgres' begins a URL"),
        ("postgresql:late", "'postgresql' begins a URL"),
        (f"postgresql:/me:{PASSWORD}@host/late", "'postgresql' begins a URL"),
        (f"postgresql+psycopg:/me:{PASSWORD}@host/late", "begins a URL"),
        (f"me:{PASSWORD}@host/late", "'me' begins a URL"),
        ("file:late.db", "'file' begins a URL"),
        ("file:/srv/late.db?mode=ro", "'file' begins a URL"),
        ("mysql:late", "'mysql' begins a URL"),
        ("sqlite3:late.db", "'sqlite3' begins a URL"),
        ("sqlite+sqlcipher:late.db", r"'sqlite\+sqlcipher' begins a URL"),
        ("jdbc:sqlite:late.db", "'jdbc' begins a URL"),
        ("sqlite:file:late.db", "'file' begins a URL"),
        ("sqlite:sqlite:late.db", "'sqlite' begins a URL"),
        (f"host=127.0.0.1 dbname=late password={PASSWORD}", "connection string"),
        (f"sslmode=require password={PASSWORD}", "connection string"),
        (f"Server=db;Password={PASSWORD}", "connection string"),
        (f"sqlite:host=db password={PASSWORD}", "connection string"),
        ("sqlite:late.db?mode=rwc", "not supported: mode"),
        ("sqlite:late.db?cache=shared&mode=ro", "not supported: cache, mode"),
        ("sqlite:///./late.db?mode=ro", "not supported: mode"),
        ("sqlite://host/late.db", "no host"),
        (f"sqlite://me:{PASSWORD}@host", "begins a URL"),
        ("sqlite:", "names no file"),
        ("sqlite: ", "names no file"),
        ("sqlite:late%00.db", "not the path"),
        ("sqlite:$NOWHERE/late.db", "has no NOWHERE"),
        ("${NOWHERE}/late.db", "has no NOWHERE"),
    ],
)
def test_a_text_that_is_no_file_is_refused_and_makes_none(
    home: Path, monkeypatch: pytest.MonkeyPatch, opening: Opening, name: str, says: str
) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        opening(name, monkeypatch)
    assert PASSWORD not in str(caught.value)
    assert [list(folder.iterdir()) for folder in (home, Path.cwd())] == [[], []]


def test_a_url_that_is_no_text_is_refused(home: Path) -> None:
    with pytest.raises(InvalidInput, match="not the path"):
        resolve("sqlite:\ud800.db", Settings())


def test_an_absolute_path_after_three_slashes_is_refused_rather_than_made_below_the_working_folder(home: Path) -> None:
    with pytest.raises(InvalidInput, match=f"write sqlite:{home}/late.db"):
        resolve(f"sqlite://{home}/late.db", Settings())


def test_a_relative_path_after_three_slashes_may_name_a_folder_that_is_missing_everywhere(home: Path) -> None:
    assert resolve("sqlite:///no/such/late.db", Settings()).path == home.parent / "work" / "no" / "such" / "late.db"


def test_a_file_that_was_made_under_the_name_of_its_url_is_not_left_behind(home: Path) -> None:
    stray = Path("sqlite:late.db")
    Store.open(Path.cwd() / stray).close()
    with pytest.raises(InvalidInput, match="move it to where it belongs"):
        resolve("sqlite:late.db", Settings())
    assert resolve("./sqlite:late.db", Settings()).path == Path.cwd() / stray
    stray.rename("late.db")
    assert resolve("sqlite:late.db", Settings()).path == home.parent / "work" / "late.db"


@pytest.mark.parametrize("name", ["sqlite:/srv/late.db", f"postgresql:/me:{PASSWORD}@host/late", "sqlite:late.db"])
def test_a_path_that_was_made_of_a_url_is_refused(home: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match="begins a URL") as caught:
        resolve(Path(name), Settings())
    assert PASSWORD not in str(caught.value)


def test_a_path_whose_file_is_there_may_have_any_name(home: Path) -> None:
    Path("mysql:late.db").touch()
    assert resolve(Path("mysql:late.db"), Settings()).path == home.parent / "work" / "mysql:late.db"


def test_a_path_is_not_searched_for_variables(home: Path) -> None:
    assert resolve(Path("$HOME/late.db"), Settings()).path == home.parent / "work" / "$HOME" / "late.db"


@pytest.mark.parametrize("database", ["file:late.db", "sqlite:late.db"])
def test_the_database_of_a_url_object_is_a_file_as_well(home: Path, database: str) -> None:
    with pytest.raises(InvalidInput, match="begins a URL"):
        resolve(URL.create("sqlite", database=database), Settings())
    assert resolve(URL.create("sqlite", database="late.db"), Settings()).path == home.parent / "work" / "late.db"
