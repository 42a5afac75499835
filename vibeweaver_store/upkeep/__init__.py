"""Looking after a database: describe it, check it, keep it in shape, back it up and restore it.

All of it but :func:`describe` takes a database as :meth:`vibeweaver_store.Store.open` does, and needs no open store.
"""

from vibeweaver_store.backup import Backup, back_up
from vibeweaver_store.restore import Restored, restore
from vibeweaver_store.upkeep.checkup import Checkup, check
from vibeweaver_store.upkeep.comparison import drift
from vibeweaver_store.upkeep.findings import Finding
from vibeweaver_store.upkeep.info import StoreInfo, describe
from vibeweaver_store.upkeep.maintenance import Maintenance, maintain

__all__ = [
    "Backup",
    "Checkup",
    "Finding",
    "Maintenance",
    "Restored",
    "StoreInfo",
    "back_up",
    "check",
    "describe",
    "drift",
    "maintain",
    "restore",
]
