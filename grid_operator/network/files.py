"""A grid of a file or folder, whichever kind it is: solver-neutral JSON, a net that pandapower saved, or a folder of CSV tables."""

from __future__ import annotations

import json
from pathlib import Path

from grid_operator.network.errors import NetworkError
from grid_operator.network.json_file import network_of
from grid_operator.network.model import Network
from grid_operator.network.pandapower_nets import network_of_pandapower
from grid_operator.network.tables import read_tables


def read_network(path: Path) -> Network:
    """The network there. NetworkError naming the file and what in it is wrong."""
    if path.is_dir():
        return read_tables(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise NetworkError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    except ValueError as error:
        raise NetworkError(f"{path}: no JSON: {error}") from None
    try:
        if isinstance(content, dict) and content.get("_class") == "pandapowerNet":
            return _saved_by_pandapower(path)
        return network_of(content)
    except NetworkError as error:
        raise NetworkError(f"{path}: {error}") from None


def _saved_by_pandapower(path: Path) -> Network:
    try:
        import pandapower  # noqa: PLC0415  # nobody needs it but for its own files
    except ImportError:
        raise NetworkError("a net that pandapower saved is read by pandapower, which is not installed") from None
    return network_of_pandapower(pandapower.from_json(str(path)), path.stem)
