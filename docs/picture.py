"""Draws the picture of the README anew: what ``weave`` prints on a terminal. ``python docs/picture.py``."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

TOP = Path(__file__).resolve().parents[1]
SONG = "vibeweaver_store/songs/ode_to_joy.mid"
WIDTH = 100


def weave() -> str:
    """Run the README's command and return what it prints, colours and all."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "vibeweaver_store", "--db", f"{folder}/late-set.db", "weave", SONG],
            cwd=TOP,
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(WIDTH), "TERM": "xterm-256color"},
        )
    return done.stdout


_TEXT = re.compile(
    r'<text class="([^"]*)" x="([^"]*)" y="([^"]*)" textLength="[^"]*"( clip-path="[^"]*")>([^<]*)</text>'
)
_WORD = re.compile(r"[^\xa0]+")
_CELL = 12.2
"""The width of a character in rich's drawing."""


def word_by_word(text: re.Match[str]) -> str:
    """Place each word of a line by itself: viewers disagree on what blanks in SVG are worth."""
    style, left, top, clip, content = text.groups()
    return "".join(
        f'<text class="{style}" x="{float(left) + _CELL * word.start():.1f}" y="{top}" '
        f'textLength="{_CELL * len(word[0]):.1f}"{clip}>{html.escape(word[0])}</text>'
        for word in _WORD.finditer(html.unescape(content))
    )


def drawn(printed: str) -> str:
    """Return a terminal's output as SVG, with fonts that are there and nothing fetched."""
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere, force_terminal=True)
        console.print(Text(f"$ vibeweaver-store --db late-set.db weave {SONG}", style="bold"))
        console.print(Text.from_ansi(printed))
        svg = console.export_svg(title="vibeweaver-store weave", unique_id="weave")
    svg = re.sub(r"@font-face \{.*?\}\n", "", svg, flags=re.DOTALL)
    svg = svg.replace("Fira Code, monospace", "'DejaVu Sans Mono', Menlo, Consolas, monospace")
    return _TEXT.sub(word_by_word, svg)


def main() -> None:
    """Write ``docs/weave.svg``."""
    (TOP / "docs" / "weave.svg").write_text(drawn(weave()))


if __name__ == "__main__":
    main()
