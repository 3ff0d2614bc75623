"""Models that have shapes and no values yet: what is built to be filled from a file, or to be compared with one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

DRAWING = (Tensor.normal_, Tensor.uniform_, nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_)
"""What random values come from, however a layer is initialised."""


@contextmanager
def without_values() -> Iterator[None]:
    """Inside the block tensors are made on the meta device, and layers are not initialised.

    On that device PyTorch draws, and joins tensors, by functions of its compiler, which takes half a second to import.
    """
    with torch.device("meta"), _ShapesAlone():
        yield


class _ShapesAlone(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        if func in DRAWING:
            return args[0] if args else named["tensor"]
        if func is torch.cat and len(args) == 1 and not named:  # along the first dimension
            parts: Sequence[Tensor] = args[0]
            return parts[0].new_empty((sum(map(len, parts)), *parts[0].shape[1:]))
        return func(*args, **named)
