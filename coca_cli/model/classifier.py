"""An encoder with a task head on it: what is finetuned for classification."""

from __future__ import annotations

from torch import Tensor, nn

from coca_cli.model.coca import CoCa
from coca_cli.model.layers import Block
from coca_cli.model.task_head import TaskHead


class Classifier(nn.Module):
    """The image side of a CoCa and a head on its tokens.

    The whole CoCa stays beside it, so that what is written can still do all that it could before.

    Args:
        coca: The model.
        head: On its tokens.
        generative: The head looks at the generative pooler's output, not at the encoder's.
    """

    def __init__(self, coca: CoCa, head: TaskHead, *, generative: bool = False) -> None:
        super().__init__()
        self.coca = coca
        self.head = head
        self.generative = generative

    def encode(self, images: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) -> tokens (B, N, W); clips (B, F, 3, H, W) -> (B, F, N, W)."""
        flat = images.flatten(0, -4)
        image = self.coca.image
        tokens: Tensor = image(flat).tokens if self.generative else image.vit(flat)
        return tokens.view(*images.shape[:-3], *tokens.shape[1:])

    def forward(self, images: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) or clips (B, F, 3, H, W), normalised -> logits (B, C) in fp32."""
        logits: Tensor = self.head(self.encode(images))
        return logits

    def train_image_side_alone(self) -> None:
        """Leave what the head does not look at as it is: weight decay alone would wear it away."""
        looked_at = [self.coca.image.vit, self.coca.image.generative if self.generative else None]
        self.coca.requires_grad_(False)
        for module in filter(None, looked_at):
            module.requires_grad_(True)

    def drop_paths(self, rate: float) -> None:
        """Stochastic depth (arXiv 1603.09382): leave out residual branches, from 0 at the first layer to the rate at
        the last one.
        """
        from timm.layers.drop import DropPath  # takes seconds, and a classifier that is only used has none

        blocks = self.coca.image.vit.blocks
        for number, block in enumerate(blocks):
            assert isinstance(block, Block)
            part = rate * number / max(1, len(blocks) - 1)
            block.drop_path = DropPath(part) if part else nn.Identity()

    def layer_of(self, name: str) -> int:
        """How deep a parameter lies: 0 for what makes patches, then the layers, then all that comes after them.

        Args:
            name: Of a parameter of this module.
        """
        last = len(self.coca.image.vit.blocks) + 1
        place = name.removeprefix("coca.image.vit.")
        if place == name or place.startswith("norm."):
            return last
        return int(place.split(".")[1]) + 1 if place.startswith("blocks.") else 0
