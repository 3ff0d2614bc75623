"""Texts without their padding: every layer but attention works on the tokens alone."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Packing(NamedTuple):
    """Where the tokens of a padded batch stand.

    Attributes:
        rows: (n,) positions of the tokens in the flattened (B * T) batch, ascending.
        batch: B.
        length: T.
    """

    rows: Tensor
    batch: int
    length: int

    def pack(self, x: Tensor) -> Tensor:
        """(B, T, W) -> the tokens (n, W)."""
        return x.flatten(0, 1).index_select(0, self.rows)

    def pad(self, x: Tensor) -> Tensor:
        """The tokens (n, W) -> (B, T, W), zero elsewhere."""
        empty = x.new_zeros(self.batch * self.length, x.shape[-1])
        return empty.index_copy(0, self.rows, x).view(self.batch, self.length, x.shape[-1])
