"""What turns pictures into the ViT's first tokens: one filter per patch, or a few convolutions."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coca_cli.model.products import product


class PatchStem(nn.Conv2d):
    """One linear map of each patch, as in the ViT.

    Args:
        patch_size: Side of a patch.
        width: Token width.
        bias: Whether it has one.
    """

    def __init__(self, patch_size: int, width: int, *, bias: bool) -> None:
        super().__init__(3, width, patch_size, stride=patch_size, bias=bias)

    def reset_parameters(self) -> None:
        """Initialise anew."""
        nn.init.trunc_normal_(self.weight, std=self.weight[0].numel() ** -0.5)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, N, W). The convolution as one product: several times faster in bf16 on a CPU."""
        size, (rows, columns) = self.kernel_size[0], (side // self.kernel_size[0] for side in images.shape[2:])
        inside = images[:, :, : rows * size, : columns * size]
        tiles = inside.reshape(-1, 3, rows, size, columns, size).permute(0, 2, 4, 1, 3, 5)
        plain = images.device.type != "cpu" or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu")
        linear = F.linear if plain else product
        return linear(tiles.reshape(len(images), rows * columns, -1), self.weight.flatten(1), self.bias)


class ConvolutionalStem(nn.Module):
    """Convolutions of 3 x 3 with stride 2, each followed by a ReLU, then a LayerNorm and a linear map.

    Each convolution has twice the channels of the one before it; the last has the token width. A ViT with such a stem
    learns from fewer pictures and steps. Source: Xiao et al., "Early Convolutions Help Transformers See Better", arXiv
    2106.14881, which has a BatchNorm after every convolution instead; a LayerNorm there takes a fifth of a small
    model's step on a CPU.

    Args:
        patch_size: Pixels per token and side, a power of two.
        width: Token width, a multiple of half the patch size.
    """

    def __init__(self, patch_size: int, width: int) -> None:
        super().__init__()
        count = patch_size.bit_length() - 1
        channels = [3, *(width >> left for left in reversed(range(count)))]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=2, padding=1) for before, after in itertools.pairwise(channels)
        )
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise anew."""
        for convolution in self.convolutions:
            assert isinstance(convolution, nn.Conv2d)
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.project.weight, std=self.project.in_features**-0.5)
        nn.init.zeros_(self.project.bias)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, N, W)."""
        x = images.contiguous(memory_format=torch.channels_last)
        for convolution in self.convolutions:
            x = F.relu(convolution(x))
        out: Tensor = self.project(self.norm(x.flatten(2).transpose(1, 2)))
        return out


def build_stem(kind: str, patch_size: int, width: int, *, bias: bool) -> PatchStem | ConvolutionalStem:
    """The stem of that kind, "patches" or "convolutions"."""
    if kind == "convolutions":
        return ConvolutionalStem(patch_size, width)
    return PatchStem(patch_size, width, bias=bias)
