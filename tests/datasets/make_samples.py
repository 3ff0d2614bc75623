"""Writes tests/samples: each dataset's real layout, with a few tiny drawn pictures or clips in it.

Run it as `python -m tests.datasets.make_samples` after a change here; what it writes is committed.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import av
import numpy as np
from PIL import Image

from tests.datasets.make_question_samples import save_question_sets
from tests.datasets.sample_files import SIDE, gradient, save_pictures, save_text

SAMPLES = Path(__file__).parents[1] / "samples"

IMAGENET = (
    "imagenet/val/n01440764/ILSVRC2012_val_00000293.JPEG",
    "imagenet/val/n01440764/ILSVRC2012_val_00002138.JPEG",
    "imagenet/val/n01443537/ILSVRC2012_val_00000236.JPEG",
    "imagenet/val/n15075141/ILSVRC2012_val_00001149.JPEG",
    "imagenet/train/n01440764/n01440764_10026.JPEG",
    "imagenet/train/n01443537/n01443537_10007.JPEG",
)
IMAGENET_V2 = tuple(
    f"imagenetv2-matched-frequency-format-val/{name}" for name in ("0/0a.jpeg", "2/2b.jpeg", "10/1c.jpeg")
)
IMAGENET_A = (
    "imagenet-a/n01498041/0.000116_digital clock _ digital clock_0.865662.jpg",
    "imagenet-a/n02007558/0.000032_cabbage butterfly _ cabbage butterfly_0.99.jpg",
)
IMAGENET_R = ("imagenet-r/n01443537/art_0.jpg", "imagenet-r/n01443537/toy_1.jpg", "imagenet-r/n07920052/origami_3.jpg")
IMAGENET_SKETCH = ("sketch/n01440764/sketch_0.JPEG", "sketch/n15075141/sketch_7.JPEG")
CIFAR10 = tuple(
    f"cifar10/{split}/{name}/000{number}.png"
    for split in ("test", "train")
    for number, name in enumerate(("airplane", "cat", "truck"))
)
FOLDER = tuple(
    f"{split}/{name}"
    for split in ("train", "val", "test")
    for name in ("cat/whiskers.jpg", "hot_dog/with onions.png", "hot_dog/2024/street.webp")
)
OBJECTNET_IMAGES = (
    "alarm_clock/42d42cf4b12b41c.png",
    "alarm_clock/693607a663e3472.png",
    "hair_dryer/7ee6baf1e7da4f9.png",
    "squeegee/0a1b2c3d4e5f607.png",
)
OBJECTNET_MAPPINGS = {
    "folder_to_objectnet_label.json": {
        "squeegee": "Squeegee",
        "hair_dryer": "Hair dryer",
        "alarm_clock": "Alarm clock",
    },
    "objectnet_to_imagenet_1k.json": {
        "Alarm clock": "analog clock; digital clock",
        "Hair dryer": "hand blower, blow dryer, blow drier, hair dryer, hair drier",
    },
    "pytorch_to_imagenet_2012_id.json": {"409": 1, "530": 2, "589": 0},
    "imagenet_to_label_2012_v2": (
        "hand blower, blow dryer, blow drier, hair dryer, hair drier",
        "analog clock",
        "digital clock",
    ),
}
COCO = (
    ("val2014/COCO_val2014_000000391895.jpg", "test"),
    ("train2014/COCO_train2014_000000057870.jpg", "train"),
    ("val2014/COCO_val2014_000000060623.jpg", "restval"),
    ("val2014/COCO_val2014_000000522418.jpg", "val"),
    ("val2014/COCO_val2014_000000184613.jpg", "test"),
)
FLICKR30K = (("1000092795.jpg", "train"), ("1007129816.jpg", "test"), ("1018148011.jpg", "val"))
FLICKR8K = (
    ("2513260012_03d33305cf.jpg", "train"),
    ("3385593926_d3e9c21170.jpg", "test"),
    ("2903617548_d3e38d7f88.jpg", "val"),
)
NOCAPS = {
    "0013ea2087020901.jpg": "in-domain",
    "004886b7d043cfef.jpg": "near-domain",
    "00665e73ab8d17a2.jpg": "out-domain",
    "0084b71a5d1ffe2c.jpg": "near-domain",
}
NOCAPS_TEST = ("0000d67245642c5f.jpg", "00045d609ca3f4eb.jpg")
MSRVTT = {"video0": "train", "video6513": "validate", "video7010": "test", "video7020": "test", "video9770": "test"}
MSVD = {
    "mv89psg6zh4_33_46": "train",
    "-4wsuPCjDBc_5_15": "val",
    "WPG-BIWOrG4_21_26": "test",
    "UgUFP5baQ9Y_0_7": "test",
}

KINETICS = {
    "abseiling_0wR5jVB-WPk_000417_000427": "val",
    "zumba_oIzqh7yf9ao_000002_000012": "val",
    "zumba_-FgCiYI9RWs_000018_000028": "test",
    "abseiling_-3B32lodo2M_000059_000069": "train",
}
"""Class, then the clip's name, and its split."""
MOMENTS = {
    "clapping/yt-0aDsNJ9lVrY_12.mp4": "val",
    "adult+male+speaking/flickr-5-7-8-2-7-11_3.mp4": "val",
    "blocking/getty-karate-video-id635808620_4.mp4": "train",
}
UCF101 = {
    "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01": "test1",
    "HandstandPushups/v_HandStandPushups_g01_c02": "test1",
    "YoYo/v_YoYo_g02_c01": "test2",
    "Archery/v_Archery_g03_c01": "test3",
    "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01": "train1",
    "YoYo/v_YoYo_g09_c02": "train2",
    "Archery/v_Archery_g10_c03": "train3",
}
HMDB51 = {
    "brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0": ("2", "0", "0"),
    "brush_hair/Brushing_my_hair_brush_hair_f_nm_np1_ba_goo_2": ("1", "0", "0"),
    "wave/#50_FIRST_DATES_wave_u_cm_np1_fr_goo_30": ("0", "2", "0"),
    "wave/21_wave_u_nm_np1_fr_goo_5": ("0", "1", "0"),
    "wave/50_wave_h_nm_np1_fr_med_7": ("0", "0", "2"),
    "brush_hair/Haare_brush_hair_h_cm_np1_fr_goo_1": ("0", "0", "1"),
}
"""A clip, and its mark in each of the three ways of parting the set."""


def bordered(picture: np.ndarray) -> np.ndarray:
    """The picture with ObjectNet's red border of two pixels around it."""
    framed = np.full((picture.shape[0] + 4, picture.shape[1] + 4, 3), (255, 0, 0), np.uint8)
    framed[2:-2, 2:-2] = picture
    return framed


class _Python2Pickler(pickle._Pickler):  # the pure Python one can be taught how Python 2 wrote texts
    dispatch: ClassVar[dict[Any, Any]] = dict(pickle._Pickler.dispatch)

    def _save_text(self, text: str | bytes) -> None:
        content = text if isinstance(text, bytes) else text.encode("latin-1")
        if len(content) < 256:
            self.write(pickle.SHORT_BINSTRING + struct.pack("<B", len(content)) + content)
        else:
            self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)
        self.memoize(text)

    dispatch[bytes] = dispatch[str] = _save_text


def python2_pickle(value: Any) -> bytes:
    """The value as Python 2 and the NumPy of its time pickled it with protocol 2: texts are bytes."""
    stream = io.BytesIO()
    _Python2Pickler(stream, protocol=2).dump(value)
    return stream.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def cifar100_batch(labels: list[int]) -> dict[str, Any]:
    """The fields of one of CIFAR-100's files, with as many drawn pictures as labels."""
    planes = [gradient(label, 32).transpose(2, 0, 1).reshape(-1) for label in labels]
    return {
        "filenames": [f"drawn_s_{index:06d}.png" for index in range(len(labels))],
        "batch_label": "a small sample",
        "fine_labels": labels,
        "coarse_labels": [label // 5 for label in labels],
        "data": np.stack(planes),
    }


def save_objectnet(folder: Path) -> None:
    """ObjectNet with three classes, one of them not ImageNet's, and its four mapping files cut down to them."""
    for seed, name in enumerate(OBJECTNET_IMAGES, start=1):
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(bordered(gradient(seed))).save(folder / "images" / name)
    (folder / "mappings").mkdir(exist_ok=True)
    for name, content in OBJECTNET_MAPPINGS.items():
        text = json.dumps(content, indent=2) if isinstance(content, dict) else "\n".join(content)
        (folder / "mappings" / name).write_text(text + "\n", encoding="utf-8")


def save_cifar100(folder: Path, class_names: list[str]) -> None:
    """CIFAR-100 as its authors ship it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "test").write_bytes(python2_pickle(cifar100_batch([0, 99, 1])))
    (folder / "train").write_bytes(python2_pickle(cifar100_batch([1, 98])))
    (folder / "meta").write_bytes(python2_pickle({"fine_label_names": class_names}))


def karpathy(dataset: str, pictures: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """Karpathy's file of pictures, each with its split and two captions; COCO's are in folders and numbered."""
    images = []
    for number, (name, split) in enumerate(pictures):
        folder, _, file = name.rpartition("/")
        raw = [f"A drawn picture for {split}, number {number}.", f"colours in a square , number {number} ."]
        sentids = [2 * number, 2 * number + 1]
        sentences = [
            {"tokens": text.lower().rstrip(". ").split(), "raw": text, "imgid": number, "sentid": sentid}
            for text, sentid in zip(raw, sentids, strict=True)
        ]
        coco = {"filepath": folder, "cocoid": int(file[-16:-4])} if folder else {}
        images.append(
            coco | {"sentids": sentids, "imgid": number, "sentences": sentences, "split": split, "filename": file}
        )
    return {"images": images, "dataset": dataset}


def save_karpathy(folder: Path, dataset: str, pictures: tuple[tuple[str, str], ...], below: str = "") -> None:
    """A set with Karpathy's splits, its pictures in a folder of that name."""
    save_pictures(folder / below, tuple(name for name, _ in pictures))
    save_text(folder / f"dataset_{dataset}.json", json.dumps(karpathy(dataset, pictures), indent=1))


def nocaps(split: str, names: Iterable[str]) -> dict[str, Any]:
    """The pictures of a split as nocaps lists them, in COCO's form."""
    return {
        "info": {"description": "a small sample", "version": "v0.1"},
        "licenses": [],
        "images": [
            {
                "id": number,
                "open_images_id": name.removesuffix(".jpg"),
                "width": SIDE,
                "height": SIDE,
                "coco_url": f"https://s3.amazonaws.com/nocaps/{split}/{name}",
                "date_captured": "2018-11-06 11:04:33",
                "file_name": name,
                "license": 0,
            }
            for number, name in enumerate(names)
        ],
    }


def save_nocaps(folder: Path) -> None:
    """nocaps with two captions for each picture of val, and none of test."""
    val = nocaps("val", NOCAPS)
    for picture, domain in zip(val["images"], NOCAPS.values(), strict=True):
        picture["domain"] = domain
    texts = [(number, words) for words in ("a drawn square", "colours that flow") for number in range(len(NOCAPS))]
    val["annotations"] = [
        {"image_id": number, "id": key, "caption": f"{words}, number {number}."}
        for key, (number, words) in enumerate(texts)
    ]
    save_text(folder / "nocaps_val_4500_captions.json", json.dumps(val, indent=1))
    save_text(folder / "nocaps_test_image_info.json", json.dumps(nocaps("test", NOCAPS_TEST), indent=1))
    save_pictures(folder / "images", (*NOCAPS, *NOCAPS_TEST))


def save_clip(file: Path, seed: int, frames: int = 4) -> None:
    """Frames of a square that moves, an eighth of a second each."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(file, "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width = stream.height = 32
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(np.roll(gradient(seed, 32), 4 * number, axis=1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def msrvtt() -> dict[str, Any]:
    """The annotation file of MSR-VTT, each video with two captions."""
    videos = [
        {
            "category": 9,
            "url": "https://www.youtube.com/watch?v=drawn",
            "video_id": video,
            "start time": 137.72,
            "end time": 149.44,
            "split": split,
            "id": number,
        }
        for number, (video, split) in enumerate(MSRVTT.items())
    ]
    sentences = [
        {"caption": f"{words} in {video}", "video_id": video, "sen_id": number}
        for number, (words, video) in enumerate((w, v) for w in ("a square moves", "colours flow") for v in MSRVTT)
    ]
    return {"info": {"description": "a small sample"}, "videos": videos, "sentences": sentences}


def save_msrvtt(folder: Path) -> None:
    """MSR-VTT with two of its test videos in 1k-A."""
    save_text(folder / "MSRVTT_data.json", json.dumps(msrvtt(), indent=1))
    rows = ("ret0,msr9770,video9770,a square moves", 'ret1,msr7020,video7020,"colours, and they flow"')
    save_text(folder / "MSRVTT_JSFUSION_test.csv", "\n".join(("key,vid_key,video_id,sentence", *rows)))
    for seed, video in enumerate(MSRVTT, start=1):
        save_clip(folder / "videos/all" / f"{video}.mp4", seed)


def save_msvd(folder: Path) -> None:
    """MSVD with its remarks, and a list of clips per split."""
    remarks = ("# descriptions of drawn clips", "# each line: clip, description", "")
    captions = [f"{clip} {words}" for clip in MSVD for words in ("a square is moving", "colours are flowing")]
    save_text(folder / "AllVideoDescriptions.txt", "\n".join((*remarks, *captions)))
    for split in ("train", "val", "test"):
        save_text(folder / f"{split}_list.txt", "\n".join(clip for clip, part in MSVD.items() if part == split))
    for seed, clip in enumerate(MSVD, start=1):
        save_clip(folder / "YouTubeClips" / f"{clip}.avi", seed)


def save_kinetics(folder: Path, number: int) -> None:
    """Kinetics as its authors list it; every edition has the classes that are used here."""
    for split in ("val", "test", "train"):
        lines = ["label,youtube_id,time_start,time_end,split"]
        for seed, (name, part) in enumerate(KINETICS.items(), start=number):
            if part == split:
                label, clip = name.split("_", 1)
                video, start, end = clip.rsplit("_", 2)
                lines.append(f"{label},{video},{int(start)},{int(end)},{split}")
                inside = f"{split}/{label}" if split == "train" else split
                save_clip(folder / inside / f"{clip}.mp4", seed)
        save_text(folder / f"{split}.csv", "\n".join(lines))


def save_moments(folder: Path) -> None:
    """Moments in Time: lists without a header, with the numbers of those who agreed and who did not."""
    for split, name, place in (("val", "validationSet", "validation"), ("train", "trainingSet", "training")):
        clips = [clip for clip, part in MOMENTS.items() if part == split]
        save_text(folder / f"{name}.csv", "\n".join(f"{clip},{clip.partition('/')[0]},3,1" for clip in clips))
        for seed, clip in enumerate(clips, start=len(name)):
            save_clip(folder / place / clip, seed)


def save_ucf101(folder: Path) -> None:
    """UCF101 with its six lists; those for training have a class number on each line."""
    for split in dict.fromkeys(UCF101.values()):
        number = " 1" if split.startswith("train") else ""
        lines = [f"{clip}.avi{number}" for clip, part in UCF101.items() if part == split]
        save_text(folder / "ucfTrainTestlist" / f"{split[:-1]}list0{split[-1]}.txt", "\n".join(lines))
    for seed, clip in enumerate(UCF101, start=1):
        save_clip(folder / "UCF-101" / f"{clip}.avi", seed, frames=2)


def save_hmdb51(folder: Path) -> None:
    """HMDB51 with two classes and their lists."""
    for label in ("brush_hair", "wave"):
        clips = {clip: marks for clip, marks in HMDB51.items() if clip.startswith(f"{label}/")}
        for number in range(3):
            lines = [f"{clip.partition('/')[2]}.avi {marks[number]}" for clip, marks in clips.items()]
            name = f"testTrainMulti_7030_splits/{label}_test_split{number + 1}.txt"
            save_text(folder / name, "\n".join(lines))
    for seed, clip in enumerate(HMDB51, start=1):
        save_clip(folder / "hmdb51_org" / f"{clip}.avi", seed, frames=2)


def main(samples: Path = SAMPLES) -> None:
    """Write every sample below the folder."""
    save_pictures(samples / "imagenet", IMAGENET)
    save_pictures(samples / "imagenet-v2", IMAGENET_V2)
    save_pictures(samples / "imagenet-a", IMAGENET_A)
    save_pictures(samples / "imagenet-r", IMAGENET_R)
    save_pictures(samples / "imagenet-sketch", IMAGENET_SKETCH)
    save_pictures(samples / "cifar10", CIFAR10, 32)
    save_pictures(samples / "folder", FOLDER)
    save_objectnet(samples / "objectnet/objectnet/objectnet-1.0")
    facts = Path(__file__).parents[2] / "coca_cli/datasets/facts/cifar100_classes.txt"
    class_names = [line for line in facts.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    save_cifar100(samples / "cifar100/cifar100/cifar-100-python", class_names)
    save_karpathy(samples / "coco/coco", "coco", COCO)
    save_karpathy(samples / "flickr30k/flickr30k", "flickr30k", FLICKR30K, "flickr30k-images")
    save_karpathy(samples / "flickr8k/flickr8k", "flickr8k", FLICKR8K, "Flicker8k_Dataset")
    save_nocaps(samples / "nocaps/nocaps")
    save_msrvtt(samples / "msrvtt/msrvtt")
    save_msvd(samples / "msvd/msvd")
    for number in (400, 600, 700):
        save_kinetics(samples / f"kinetics-{number}/kinetics-{number}", number)
    save_moments(samples / "moments-in-time/moments-in-time")
    save_ucf101(samples / "ucf101/ucf101")
    save_hmdb51(samples / "hmdb51/hmdb51")
    save_question_sets(samples)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
