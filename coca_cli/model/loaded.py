"""What loading a checkpoint gives: the model, its tokenizer, its image settings and its name."""

from __future__ import annotations

from dataclasses import dataclass

from coca_cli.media.images import ImageSettings
from coca_cli.model.baselines import Baseline
from coca_cli.model.coca import CoCa
from coca_cli.model.tokenizer import ClipTokenizer, SentencePieceTokenizer, TextEncoder
from coca_cli.model.weights import hash_weights


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that is ready to use, in fp32 on the CPU.

    Attributes:
        model: A CoCa or a baseline.
        tokenizer: The tokenizer that is bound to it.
        image: How pictures become its input.
        name: What result rows call it.
        checkpoint: Short hash of the weights.
        folder: Where it lies, if it is a folder.
    """

    model: CoCa | Baseline
    tokenizer: TextEncoder
    image: ImageSettings
    name: str
    checkpoint: str
    folder: str = ""


@dataclass(frozen=True, slots=True)
class LoadedCoCa:
    """A CoCa with the tokenizer that writes its captions."""

    model: CoCa
    tokenizer: ClipTokenizer | SentencePieceTokenizer
    name: str

    def ready(self) -> Loaded:
        """The same, as evaluation takes it, with the hash of the weights."""
        model = self.model
        return Loaded(model, self.tokenizer, model.config.image, self.name, hash_weights(dict(model.state_dict())))
