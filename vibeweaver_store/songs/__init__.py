"""The song that ships with the package, to try the transport on."""

from __future__ import annotations

from pathlib import Path
from typing import Final

ODE_TO_JOY: Final[Path] = Path(__file__).with_name("ode_to_joy.mid")
