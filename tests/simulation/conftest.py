"""Makes `world` importable: in importlib mode no test folder is on the path by itself."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
