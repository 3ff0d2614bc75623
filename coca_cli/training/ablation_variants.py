"""The variants of the paper's Table 8: what differs from the default, and which table shows it.

Source: section 4.3 of the paper, tables 8a to 8f.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from coca_cli.errors import CocaError, UnknownName
from coca_cli.model.config import CoCaConfig
from coca_cli.registry import unknown_name

Kind = Literal["zeroshot", "retrieval", "probe", "linear", "questions"]
WORDS = {
    "pretraining": "8a",
    "objectives": "8b",
    "ratio": "8c",
    "layers": "8d",
    "cls": "8e",
    "poolers": "8f",
}
"""What the tables are called on the command line, besides their names in the paper."""

CLS_TOKENS = 8
FEW_QUERIES = 8
"""The paper's 32 queries are an eighth of its 256."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A way to train.

    Attributes:
        name: Of its folders.
        changes: KEY=VALUE changes of the architecture.
        contrastive_weight: Of the contrastive loss.
        caption_weight: Of the captioning loss.
        classes: Learn the classes by a softmax over their names, with no text side.
        labels_alone: Train on the labelled pictures of the data alone.
        lacks: Measures that it has no score for.
    """

    name: str
    changes: tuple[str, ...] = ()
    contrastive_weight: float = 1.0
    caption_weight: float = 2.0
    classes: bool = False
    labels_alone: bool = False
    lacks: tuple[Kind, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a table.

    Attributes:
        variant: What is trained for it; None where the line is the paper's alone.
        label: In words.
        paper: What the paper's line is called in the published numbers.
    """

    variant: Variant | None
    label: str
    paper: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One of the paper's tables.

    Attributes:
        name: In the paper.
        title: In words.
        kinds: What the paper measures for it.
        lines: In the paper's order.
        reference: Which line the others are compared with.
        cost_base: Which line costs 1.
        notes: What a reader has to know.
    """

    name: str
    title: str
    kinds: tuple[Kind, ...]
    lines: tuple[Line, ...]
    reference: int = 0
    cost_base: int = 0
    notes: tuple[str, ...] = ()


DEFAULT = Variant(name="default")


def table_names(asked: Sequence[str]) -> list[str]:
    """The paper's names of tables in its order; all of them where none is asked for.

    Args:
        asked: Names or words, such as 8b or objectives.

    Raises:
        UnknownName: There is no such table.
    """
    for word in asked:
        if word not in WORDS and word not in WORDS.values():
            raise UnknownName(unknown_name("table", word, [*WORDS, *WORDS.values()]))
    wanted = {WORDS.get(word, word) for word in asked}
    return [name for name in WORDS.values() if name in wanted or not wanted]


def build_tables(names: Sequence[str], config: CoCaConfig) -> list[Table]:
    """The tables of those names for an architecture.

    Raises:
        CocaError: The architecture cannot be varied so.
    """
    build = {
        "8a": lambda _: _pretraining(),
        "8b": lambda _: _objectives(),
        "8c": lambda _: _ratio(),
        "8d": _layers,
        "8e": _cls,
        "8f": _poolers,
    }
    return [build[name](config) for name in names]


def _pretraining() -> Table:
    classes = Variant(name="labels-classes", classes=True, labels_alone=True)
    captions = Variant(name="labels-captions", contrastive_weight=0.0, labels_alone=True)
    return Table(
        name="8a",
        title="Classification or captioning, pretrained on labelled pictures alone",
        kinds=("linear", "probe"),
        lines=(
            Line(classes, "classification (L_Cls)", "ViT-Base encoder, L_Cls"),
            Line(captions, "captioning (L_Cap)", "naive encoder-decoder, L_Cap"),
        ),
        notes=(
            "The paper finetunes on ImageNet; here the encoder is frozen. linear is a logistic regression on the mean "
            "of its patches, probe a new attentional pooler.",
            "Classification is a softmax over the class names behind a pooler with one query; captioning has CoCa's "
            "own decoder and pooler, since the paper does not describe its naive encoder-decoder.",
        ),
    )


def _objectives() -> Table:
    contrastive = Variant(name="contrastive-alone", caption_weight=0.0)
    captioning = Variant(name="captioning-alone", contrastive_weight=0.0, lacks=("zeroshot", "retrieval"))
    return Table(
        name="8b",
        title="Training objectives",
        kinds=("zeroshot", "questions"),
        lines=(
            Line(contrastive, "contrastive alone (L_Con)", "L_Con only"),
            Line(captioning, "captioning alone (L_Cap)", "L_Cap only"),
            Line(DEFAULT, "both (L_CoCa, default)", "L_CoCa (default)"),
        ),
        reference=2,
        notes=(
            "The contrastive loss leaves the multimodal decoder as it was initialised: the questions of L_Con are "
            "asked through random layers, and the number tells what a new pooler and classifier read out of them. The "
            "paper trains a fusion of its own there.",
            "The paper's cost is in TPUv3 core-days; here it is the time and the operations of a training step.",
        ),
    )


def _ratio() -> Table:
    equal = Variant(name="ratio-1-1", caption_weight=1.0)
    contrastive = Variant(name="ratio-1-2", contrastive_weight=2.0, caption_weight=1.0)
    return Table(
        name="8c",
        title="Weights of captioning and contrastive loss",
        kinds=("zeroshot", "questions"),
        lines=(
            Line(equal, "1:1", "lambda_Cap:lambda_Con = 1:1"),
            Line(contrastive, "1:2", "lambda_Cap:lambda_Con = 1:2"),
            Line(DEFAULT, "2:1 (default)", "lambda_Cap:lambda_Con = 2:1 (default)"),
        ),
        reference=2,
        cost_base=2,
        notes=(
            "Captioning first. The contrastive loss is the mean of its two directions here, and their sum in the "
            "paper's equation 2.",
        ),
    )


def _layers(config: CoCaConfig) -> Table:
    unimodal, layers = config.text.unimodal_layers, config.text.unimodal_layers + config.text.multimodal_layers
    if layers % 4 or 2 * unimodal != layers:
        raise CocaError(
            f"table 8d moves the cut between the decoder's halves to a quarter and three quarters of its layers; "
            f"{unimodal} and {layers - unimodal} layers cannot be cut so: take halves of equal and even number"
        )

    def cut(count: int) -> Variant:
        changes = (f"text.unimodal_layers={count}", f"text.multimodal_layers={layers - count}")
        return Variant(name=f"unimodal-{count}", changes=changes)

    few, many = layers // 4, 3 * layers // 4
    return Table(
        name="8d",
        title=f"Unimodal layers of the decoder's {layers}",
        kinds=("zeroshot", "questions"),
        lines=(
            Line(cut(few), f"{few}", "n_uni = 3 of 12"),
            Line(DEFAULT, f"{unimodal} (default)", "n_uni = 6 of 12 (default)"),
            Line(cut(many), f"{many}", "n_uni = 9 of 12"),
        ),
        reference=1,
        cost_base=1,
        notes=("A multimodal layer has cross-attention on top of what a unimodal one has, so the sizes differ.",),
    )


def _cls(config: CoCaConfig) -> Table:
    if config.text.cls_tokens != 1:
        raise CocaError(
            f"table 8e compares one [CLS] token with {CLS_TOKENS}, and this architecture has {config.text.cls_tokens}; "
            "set text.cls_tokens=1"
        )
    many = Variant(name=f"cls-{CLS_TOKENS}", changes=(f"text.cls_tokens={CLS_TOKENS}",))
    return Table(
        name="8e",
        title="[CLS] tokens of the text",
        kinds=("probe", "retrieval"),
        lines=(
            Line(DEFAULT, "1 (default)", "1 [CLS] (default)"),
            Line(None, "1 + text tokens", "1 [CLS] + text tokens"),
            Line(many, f"{CLS_TOKENS}", "8 [CLS]"),
            Line(None, f"{CLS_TOKENS} + text tokens", "8 [CLS] + text tokens"),
        ),
        notes=(
            "The paper does not say how the text tokens join the embedding, so its two lines with them stand alone.",
            f"The embedding of {CLS_TOKENS} [CLS] tokens is the mean of their outputs, which the paper does not say "
            "either.",
        ),
    )


def _poolers(config: CoCaConfig) -> Table:
    queries = config.pooler.queries
    few = queries // FEW_QUERIES
    if config.pooler.wiring != "cascade" or few < 2:
        raise CocaError(
            f"table 8f varies a cascade of poolers with {2 * FEW_QUERIES} queries at least, and this architecture has "
            f"{config.pooler.wiring} poolers with {queries}: set pooler.wiring=cascade and pooler.queries"
        )

    def asked(count: int) -> Variant:
        return Variant(name=f"queries-{count}", changes=(f"pooler.queries={count}",))

    return Table(
        name="8f",
        title="Attentional poolers",
        kinds=("zeroshot", "questions"),
        lines=(
            Line(Variant(name="parallel", changes=("pooler.wiring=parallel",)), "parallel", "parallel poolers"),
            Line(DEFAULT, f"cascade, {queries} queries (default)", "cascade poolers, n_query = 256 (default)"),
            Line(asked(0), "0 queries", "n_query = 0 (no generative pooler)"),
            Line(asked(1), "1 query", "n_query = 1"),
            Line(asked(few), f"{few} queries", "n_query = 32"),
        ),
        reference=1,
        cost_base=1,
        notes=(
            "0 queries: no generative pooler, the decoder looks at all patches and the model has fewer parameters.",
            f"{few} of {queries} queries are the paper's 32 of 256.",
        ),
    )
