"""Foreign data in: each module reads one kind of file that other programs write."""

from vibeweaver_store.importers.ait42 import import_ait42
from vibeweaver_store.importers.claude_code import import_claude_code
from vibeweaver_store.importers.claude_stream import import_claude_stream
from vibeweaver_store.importers.lulu import import_lulu
from vibeweaver_store.importers.memva import import_memva
from vibeweaver_store.importers.runs import Counts, ImportReport, Problem
from vibeweaver_store.importers.vibe_ensemble import import_vibe_ensemble
from vibeweaver_store.importers.vibeweaver import import_vibeweaver

__all__ = [
    "Counts",
    "ImportReport",
    "Problem",
    "import_ait42",
    "import_claude_code",
    "import_claude_stream",
    "import_lulu",
    "import_memva",
    "import_vibe_ensemble",
    "import_vibeweaver",
]
