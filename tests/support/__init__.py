"""What tests share: a grid by hand, wires, machines, a system that is played in memory."""

from __future__ import annotations

from pathlib import Path

#: The project's own folder.
ROOT = Path(__file__).resolve().parents[2]
