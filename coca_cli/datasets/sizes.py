"""How many examples the splits of the datasets have when nothing is missing, as their makers count them.

Sources: the papers and pages that the datasets name; COCO, Flickr30K and Flickr8K by Karpathy's splits; easy-VQA was
counted. Sets of clips that are taken from the web one by one have no fixed size, and are left out.
"""

from __future__ import annotations

SIZES: dict[str, dict[str, int]] = {
    "cifar10": {"test": 10_000, "train": 50_000},
    "cifar100": {"test": 10_000, "train": 50_000},
    "coco": {"test": 5_000, "val": 5_000, "train": 113_287},
    "e-snli-ve": {"test": 14_740, "dev": 14_339, "train": 401_717},
    "easy-vqa": {"test": 9_673, "train": 38_575},
    "flickr30k": {"test": 1_000, "val": 1_014, "train": 29_000},
    "flickr8k": {"test": 1_000, "val": 1_000, "train": 6_000},
    "hmdb51": {f"{part}{number}": size for part, size in (("test", 1_530), ("train", 3_570)) for number in (1, 2, 3)},
    "imagenet": {"val": 50_000, "train": 1_281_167},
    "imagenet-a": {"test": 7_500},
    "imagenet-r": {"test": 30_000},
    "imagenet-sketch": {"test": 50_889},
    "imagenet-v2": {"test": 10_000},
    "msrvtt": {"test": 2_990, "val": 497, "train": 6_513, "test-1k-a": 1_000},
    "msvd": {"test": 670, "val": 100, "train": 1_200},
    "nlvr2": {"dev": 6_982, "test-p": 6_967, "train": 86_373},
    "nocaps": {"val": 4_500, "test": 10_600},
    "snli-ve": {"test": 17_901, "dev": 17_858, "train": 529_527},
    "ucf101": {"test1": 3_783, "test2": 3_734, "test3": 3_696, "train1": 9_537, "train2": 9_586, "train3": 9_624},
    "vqav2": {"val": 214_354, "test-dev": 107_394, "test-std": 447_793, "train": 443_757},
}
