"""What arrays hold."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: Numbers in double precision; their shapes are said where they are used.
Floats = npt.NDArray[np.float64]
