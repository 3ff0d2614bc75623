"""decord, for the CPU alone.

On import decord2 loads every CUDA library that pip installed beside torch into the whole process, NVBLAS among them.
That one takes the place of the CPU's matrix products: where decord comes before torch, torch crashes in its first one,
on machines without a GPU. Frames are decoded on the CPU here, so decord is kept from finding these libraries.
"""

from __future__ import annotations

import sys
from types import ModuleType

_hidden = sys.modules.get("nvidia")
_nothing = ModuleType("nvidia")
_nothing.__spec__ = None  # what decord asks for, and then takes for "not installed"
sys.modules["nvidia"] = _nothing
try:
    import decord
finally:
    if _hidden is None:
        del sys.modules["nvidia"]
    else:
        sys.modules["nvidia"] = _hidden

decord.logging.set_level(decord.logging.QUIET)

__all__ = ["decord"]
