"""Attention of few queries to keys and values that are kept from step to step.

A query's scores are a sum of the rows of the turned keys, a row per channel, weighted by the query. What it brings back
is a sum of the rows of the values, weighted by the softmax of its scores. On the CPU both are taken as bags of
embeddings: their kernel reads every row once, as fast as memory gives it, where a product with a few rows first puts
its other matrix in order.
"""

from __future__ import annotations

import platform
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from coca_cli.model.packed_linear import PROCESSORS

LEAST_ROOM = 16
"""Places at first; twice as many as are full later, so that short texts do not pay for the longest."""


class Bags:
    """Weighted sums of rows; which rows they are is the same for all layers of a step, and kept."""

    def __init__(self) -> None:
        self.of = lru_cache(maxsize=8)(_bags)

    def sums(self, tables: Tensor, weights: Tensor) -> Tensor:
        """Sums over the first rows of tables.

        Args:
            tables: (B, H, rows, C).
            weights: (B, R, H, n), n <= rows: R sums of each table, each over its first n rows.

        Returns:
            (B, R, H, C).
        """
        batch, heads, rows, width = tables.shape
        numbers, starts = self.of(batch, weights.shape[1], heads, weights.shape[3], rows)
        weights, table = weights.reshape(-1), tables.view(-1, width)
        out: Tensor = torch.embedding_bag(table, numbers, starts, per_sample_weights=weights)[0]
        return out.view(batch, -1, heads, width)


def _bags(batch: int, sums: int, heads: int, first: int, rows: int) -> tuple[Tensor, Tensor]:
    """Row numbers of all sums, one after the other, and where each sum begins."""
    numbers = torch.arange(batch * heads * rows, dtype=torch.int32).view(batch, 1, heads, rows)
    starts = torch.arange(batch * sums * heads, dtype=torch.int32) * first
    return numbers[..., :first].expand(-1, sums, -1, -1).reshape(-1), starts


class Kept:
    """Keys and values of B sequences in one attention, and room for more.

    Args:
        keys: (B, T, H, C) of the first T places; T may be 0.
        values: (B, T, H, C).
        limit: Places at most.
        bags: Shared by the layers of a model.
    """

    def __init__(self, keys: Tensor, values: Tensor, limit: int, bags: Bags) -> None:
        self.as_bags = keys.device.type == "cpu" and platform.machine() in PROCESSORS
        self.limit, self.bags, self.places = limit, bags, 0
        nothing = keys[:, :0].transpose(1, 2)
        self.keys, self.values = (nothing.mT if self.as_bags else nothing), nothing
        self.append(keys, values)

    def append(self, keys: Tensor, values: Tensor) -> None:
        """Keys and values of the next R places, (B, R, H, C) each."""
        start, self.places = self.places, self.places + keys.shape[1]
        if self.places > self.values.shape[2]:
            room = min(self.limit, max(LEAST_ROOM, self.places, 2 * start))
            self.keys = _with_room(self.keys, -1 if self.as_bags else -2, room)
            self.values = _with_room(self.values, -2, room)
        if self.as_bags:
            torch.mul(keys.permute(0, 2, 3, 1), keys.shape[-1] ** -0.5, out=self.keys[..., start : self.places])
        else:
            self.keys[:, :, start : self.places] = keys.transpose(1, 2)
        self.values[:, :, start : self.places] = values.transpose(1, 2)

    def keep(self, rows: Tensor) -> None:
        """Go on with these sequences alone, by their places in the batch, (b,)."""
        self.keys, self.values = self.keys[rows], self.values[rows]

    def mix(self, q: Tensor, mask: Tensor | None = None) -> Tensor:
        """Scaled dot-product attention to all S places.

        Args:
            q: (B, R, H, C).
            mask: What is added to the scores of every head, (B, R, 1, S).

        Returns:
            (B, R, H, C).
        """
        if not self.as_bags:
            keys, values = self.keys[:, :, : self.places], self.values[:, :, : self.places]
            seen = None if mask is None else mask.transpose(1, 2)
            return F.scaled_dot_product_attention(q.transpose(1, 2), keys, values, seen).transpose(1, 2)
        scores = self.bags.sums(self.keys, q)[..., : self.places]
        if mask is not None:
            scores = scores + mask
        return self.bags.sums(self.values, scores.softmax(dim=-1))


def _with_room(held: Tensor, dim: int, room: int) -> Tensor:
    """The same in the first places of a dimension, of the size `room`."""
    shape = [*held.shape]
    shape[dim] = room
    larger = held.new_empty(shape)
    larger.narrow(dim, 0, held.shape[dim]).copy_(held)
    return larger
