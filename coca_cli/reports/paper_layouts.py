"""How the paper lays its result tables out, and which of this program's rows belong into which column."""

from __future__ import annotations

from typing import NamedTuple


class Source(NamedTuple):
    """Which rows of this program measure what a column shows.

    Attributes:
        tasks: Any of these.
        dataset: Its name here.
        split: As result rows name it; what follows a comma there, such as missing clips, does not count.
        metric: As result rows name it.
        n: Examples, where nothing is missing; None where the set has no fixed size.
    """

    tasks: tuple[str, ...]
    dataset: str
    split: str
    metric: str
    n: int | None = None


class Column(NamedTuple):
    """One column of a table.

    Attributes:
        header: What stands above it.
        dataset: As the paper names it.
        splits: The paper's, any of these.
        metric: As the paper names it.
        source: Our rows; None where only a server knows the answers.
    """

    header: str
    dataset: str
    splits: tuple[str, ...]
    metric: str
    source: Source | None


class Layout(NamedTuple):
    """One table.

    Attributes:
        number: The paper's.
        title: What it is about.
        columns: Its columns.
        mean: The name of a last column with the mean of all, where the paper has one.
        notes: What must be known to read it.
    """

    number: str
    title: str
    columns: tuple[Column, ...]
    mean: str = ""
    notes: tuple[str, ...] = ()


PROMPT = "The paper does not say whether captions were put into a prompt; CLIP's were."
HEADS = ("probe", "classification")


def _actions(header: str, paper: str, name: str) -> Column:
    return Column(header, paper, ("val",), "top-1", Source(HEADS, name, "val", "top-1"))


def _zero_shot(paper: str, name: str, split: str, n: int) -> Column:
    return Column(
        paper.replace("ImageNet", "IN"), paper, ("val/test",), "top-1", Source(("zeroshot",), name, split, "top-1", n)
    )


def _recalls(paper: str, splits: tuple[str, ...], source: Source, noun: str, captions: int) -> list[Column]:
    """R@1, R@5, R@10 of both ways: of pictures or clips looking for texts, and of so many captions looking for them."""
    letter = noun[0].upper()
    texts = {"coca": f"{noun}-to-text", "paper": f"{noun}->text", "short": f"{letter}2T"}
    pictures = {"coca": f"text-to-{noun}", "paper": f"text->{noun}", "short": f"T2{letter}"}
    ways = (pictures, texts) if noun == "video" else (texts, pictures)
    return [
        Column(
            f"{way['short']} R@{k}",
            paper,
            splits,
            f"R@{k} {way['paper']}",
            source._replace(metric=f"{way['coca']} recall@{k}", n=source.n if way is texts else captions),
        )
        for way in ways
        for k in (1, 5, 10)
    ]


def _retrieval(dataset: str, split: str, n: int | None) -> Source:
    return Source(("retrieval",), dataset, split, "", n)


def _understanding(header: str, paper: str, split: str, metric: str, source: Source | None) -> Column:
    return Column(header, paper, (split,), metric, source)


def _answers(dataset: str, split: str, n: int) -> Source:
    return Source(("understanding",), dataset, split, "accuracy", n)


def _captions(header: str, paper: str, split: str, metric: str, source: Source | None) -> Column:
    ours = None if source is None else source._replace(metric={"BLEU@4": "BLEU-4"}.get(metric, metric))
    return Column(header, paper, (split,), metric, ours)


_COCO = Source(("caption",), "coco", "test", "", 5_000)
_NOCAPS = Source(("caption",), "nocaps", "val", "", 4_500)

LAYOUTS: tuple[Layout, ...] = (
    Layout(
        "2",
        "Image classification and video action recognition, top-1 (Table 2)",
        (
            Column("ImageNet", "ImageNet", ("val",), "top-1", Source(HEADS, "imagenet", "val", "top-1", 50_000)),
            _actions("K400", "Kinetics-400", "kinetics-400"),
            _actions("K600", "Kinetics-600", "kinetics-600"),
            _actions("K700", "Kinetics-700", "kinetics-700"),
            _actions("MiT", "Moments-in-Time", "moments-in-time"),
        ),
        notes=("Kinetics loses videos from year to year: compare n.",),
    ),
    Layout(
        "3",
        "Zero-shot image-text retrieval on Flickr30K, 1K test (Table 3, left)",
        tuple(_recalls("Flickr30K", ("1K test",), _retrieval("flickr30k", "test 1k", 1_000), "image", 5_000)),
        notes=(PROMPT,),
    ),
    Layout(
        "3",
        "Zero-shot image-text retrieval on MSCOCO, 5K test (Table 3, right)",
        tuple(_recalls("MSCOCO", ("5K test",), _retrieval("coco", "test 5k", 5_000), "image", 25_010)),
        notes=(PROMPT,),
    ),
    Layout(
        "4",
        "Zero-shot image classification on ImageNet (IN) and its shifts, top-1 (Table 4)",
        (
            _zero_shot("ImageNet", "imagenet", "val", 50_000),
            _zero_shot("ImageNet-A", "imagenet-a", "test", 7_500),
            _zero_shot("ImageNet-R", "imagenet-r", "test", 30_000),
            _zero_shot("ImageNet-V2", "imagenet-v2", "test", 10_000),
            _zero_shot("ImageNet-Sketch", "imagenet-sketch", "test", 50_889),
            _zero_shot("ObjectNet", "objectnet", "test", 18_574)._replace(header="ObjNet"),
        ),
        mean="Mean",
        notes=("The means of CLIP and ALIGN are the paper's; those of the values beside them are 74.15 and 75.25.",),
    ),
    Layout(
        "5",
        "Zero-shot video-text retrieval on MSR-VTT, full test split (Table 5)",
        tuple(
            _recalls(
                "MSR-VTT",
                ("full test", "full test, available subset"),
                _retrieval("msrvtt", "test full", 2_990),
                "video",
                59_800,
            )
        ),
        notes=("The paper's CoCa and the rows marked (subset) are on the videos that were still to be had.",),
    ),
    Layout(
        "6",
        "Multimodal understanding (Table 6)",
        (
            _understanding("VQA val", "VQA v2", "val", "vqa-score", _answers("vqav2", "val", 214_354)),
            _understanding("VQA test-dev", "VQA v2", "test-dev", "vqa-score", None),
            _understanding("VQA test-std", "VQA v2", "test-std", "vqa-score", None),
            _understanding("SNLI-VE dev", "SNLI-VE", "dev", "accuracy", _answers("snli-ve", "dev", 17_858)),
            _understanding("SNLI-VE test", "SNLI-VE", "test", "accuracy", _answers("snli-ve", "test", 17_901)),
            _understanding("NLVR2 dev", "NLVR2", "dev", "accuracy", _answers("nlvr2", "dev", 6_982)),
            _understanding("NLVR2 test-P", "NLVR2", "test-P", "accuracy", _answers("nlvr2", "test-p", 6_967)),
        ),
        notes=("VQA's test splits are scored by its server; the paper has no figure for val.",),
    ),
    Layout(
        "7",
        "Image captioning on MSCOCO (Karpathy test) and NoCaps (Table 7)",
        (
            _captions("B@4", "MSCOCO", "Karpathy test", "BLEU@4", _COCO),
            _captions("METEOR", "MSCOCO", "Karpathy test", "METEOR", _COCO),
            _captions("CIDEr", "MSCOCO", "Karpathy test", "CIDEr", _COCO),
            _captions("SPICE", "MSCOCO", "Karpathy test", "SPICE", _COCO),
            _captions("NoCaps val C", "NoCaps", "val overall", "CIDEr", _NOCAPS),
            _captions("NoCaps val S", "NoCaps", "val overall", "SPICE", _NOCAPS),
            _captions("NoCaps test C", "NoCaps", "test overall", "CIDEr", None),
            _captions("NoCaps test S", "NoCaps", "test overall", "SPICE", None),
        ),
        notes=("C is CIDEr, S is SPICE. NoCaps test is scored by its server.",),
    ),
)
"""Tables 2 to 7 of arXiv 2205.01917v2."""
