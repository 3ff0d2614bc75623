from __future__ import annotations

import hashlib
import io
import json
import random
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from coca_cli.datasets.example import Example
from coca_cli.datasets.shards import read_shard
from coca_cli.datasets.sources import Source, find_source
from coca_cli.errors import BadExample, CocaError
from coca_cli.media import packing as module
from coca_cli.media.images import read_image
from coca_cli.media.packing import Packed, PackRequest, pack_sources
from coca_cli.progress import Reporter
from tests.datasets.test_shards import write_shard
from tests.pictures import class_folders, drawn, jpeg_bytes

NO_ROOT = Path("nowhere")
# The peers leave their files to the garbage collector.
LEFT_OPEN = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


def pack(output: Path, *data: object, **settings: Any) -> Packed:
    request = PackRequest(data=[str(text) for text in data], root=NO_ROOT, output=output, **settings)
    return pack_sources(request, Reporter(quiet=True))


def captioned(folder: Path, n: int = 5) -> Path:
    """A table of `n` JPEGs with two captions each."""
    folder.mkdir(parents=True)
    lines = []
    for number in range(n):
        (folder / f"{number}.jpg").write_bytes(jpeg_bytes(drawn(number, (60, 40))))
        lines.append(json.dumps({"image": f"{number}.jpg", "caption": [f"picture {number}, a žába", "two"]}))
    (folder / "captions.jsonl").write_text("\n".join(lines))
    return folder / "captions.jsonl"


def find(text: object) -> Source:
    return find_source(str(text), NO_ROOT)


def content(source: Source) -> list[tuple[bytes, int | None, tuple[str, ...]]]:
    """Bytes, label and texts of every example."""
    return [(bytes_of(example), example.label, example.texts) for example in source.read()]


def bytes_of(example: Example) -> bytes:
    (medium,) = example.media
    return medium.read_bytes()  # type: ignore[union-attr]


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.tar"))}


def records(folder: Path) -> list[dict[str, Any]]:
    entries = (entry for shard in sorted(folder.glob("*.tar")) for entry in read_shard(shard))
    return [json.loads(entry.texts["json"]) for entry in entries]


def test_pairs_come_back_as_they_were(tmp_path: Path) -> None:
    table = captioned(tmp_path / "data")

    packed = pack(tmp_path / "out", table, shard_size=2)

    assert packed == Packed(pictures=5, shards=3, skipped=0)
    source = find(tmp_path / "out")
    assert (source.kind, content(source)) == ("pairs", content(find(table)))
    assert [example.id for example in source.read()][:3] == [
        "00000.tar:000000000",
        "00000.tar:000000001",
        "00001.tar:000000002",
    ]


def test_what_stands_in_a_shard(tmp_path: Path) -> None:
    table = captioned(tmp_path / "data", 1)
    pack(tmp_path / "out", table)

    (entry,) = read_shard(tmp_path / "out" / "00000.tar")

    assert (entry.key, sorted(entry.members)) == ("000000000", ["jpg", "json", "txt"])
    assert entry.texts["txt"] == "picture 0, a žába"
    assert json.loads(entry.texts["json"]) == {
        "captions": ["picture 0, a žába", "two"],
        "id": "0.jpg",
        "source": str(table),
    }


def test_labels_come_back_as_they_were(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "data", ("hot_dog", "cat"), 3)

    pack(tmp_path / "out", folder, shard_size=4)

    source = find(tmp_path / "out")
    assert (source.kind, content(source)) == ("labels", content(find(folder)))
    assert source.templates == find(folder).templates
    assert records(tmp_path / "out")[3] == {
        "labels": ["hot dog"],
        "class": "hot dog",
        "label": 1,
        "id": "hot_dog/000.jpg",
        "source": str(folder),
    }
    assert (tmp_path / "out" / "classnames.txt").read_text() == "cat\nhot dog\n"


def test_several_classes_of_a_picture_come_back(tmp_path: Path) -> None:
    captioned(tmp_path / "data", 2)
    (tmp_path / "data" / "labels.jsonl").write_text(
        '{"image": "0.jpg", "labels": ["cat", "dog, brown"]}\n{"image": "1.jpg", "labels": ["cat"]}\n'
    )

    pack(tmp_path / "out", tmp_path / "data" / "labels.jsonl")

    assert [record.get("class") for record in records(tmp_path / "out")] == [None, "cat"]
    texts = [entry.texts["txt"] for entry in read_shard(tmp_path / "out" / "00000.tar")]
    assert texts == ["cat, dog, brown", "cat"]
    source = find(tmp_path / "out")
    assert (source.kind, [example.texts for example in source.read()]) == ("labels", [("cat", "dog, brown"), ("cat",)])
    # No source numbers the classes, so nothing says that an index means anything.
    assert not (tmp_path / "out" / "classnames.txt").exists()


def test_both_kinds_in_one_pack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, folder = captioned(tmp_path / "data", 2), class_folders(tmp_path / "classes", ("cat", "dog"), 2)
    out = tmp_path / "out"

    request = PackRequest(data=[str(table), f"labels:{folder}"], root=NO_ROOT, output=out)
    pack_sources(request, Reporter())

    assert f"train with --data pairs:{out} --data labels:{out}" in capsys.readouterr().err
    assert content(find(f"pairs:{out}")) == content(find(out)) == content(find(table))
    assert content(find(f"labels:{out}")) == content(find(folder))


def test_sources_that_number_their_classes_otherwise_leave_the_names(tmp_path: Path) -> None:
    first = class_folders(tmp_path / "a", ("ant", "cat"), 1)
    second = class_folders(tmp_path / "b", ("cat", "dog"), 1)

    pack(tmp_path / "out", first, second)

    assert not (tmp_path / "out" / "classnames.txt").exists()
    found = [(example.label, example.texts) for example in find(tmp_path / "out").read()]
    assert found == [(0, ("ant",)), (1, ("cat",)), (1, ("cat",)), (2, ("dog",))]  # numbered by their names


def test_templates_are_written_where_all_sources_agree(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "a", ("ant", "cat"), 1)
    (folder / "templates.txt").write_text("a drawing of a {c}.\n")
    other = class_folders(tmp_path / "b", ("ant", "cat"), 1)

    pack(tmp_path / "one", folder)
    pack(tmp_path / "two", folder, other)

    assert find(tmp_path / "one").templates == ("a drawing of a {c}.",)
    assert find(tmp_path / "two").templates == find(other).templates


def test_the_same_data_give_the_same_bytes(tmp_path: Path) -> None:
    table = captioned(tmp_path / "data", 30)

    for name in ("one", "two"):
        pack(tmp_path / name, table, shard_size=7, shorter_side=24)

    assert len(shards(tmp_path / "one")) == 5
    assert shards(tmp_path / "one") == shards(tmp_path / "two")


def test_the_index_of_open_clip_and_of_wids(tmp_path: Path) -> None:
    pack(tmp_path / "out", captioned(tmp_path / "data"), shard_size=3)

    found = shards(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "sizes.json").read_text()) == {"00000.tar": 3, "00001.tar": 2}
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    assert (index["wids_version"], index["__kind__"], index["name"]) == (1, "wids-shard-index-v1", "out")
    assert index["shardlist"] == [
        {"url": name, "md5sum": hashlib.md5(data).hexdigest(), "nsamples": n, "filesize": len(data)}
        for (name, data), n in zip(found.items(), (3, 2), strict=True)
    ]


@pytest.mark.peer
@LEFT_OPEN
def test_webdataset_reads_it(tmp_path: Path) -> None:
    from webdataset import WebDataset

    table = captioned(tmp_path / "data")
    pack(tmp_path / "out", table, shard_size=2)

    samples = list(WebDataset(str(tmp_path / "out" / "{00000..00002}.tar"), shardshuffle=False).decode("pil"))

    assert [sample["__key__"] for sample in samples] == [f"{n:09d}" for n in range(5)]
    for sample, example in zip(samples, find(table).read(), strict=True):
        assert sample["txt"] == example.texts[0]
        assert sample["json"]["captions"] == list(example.texts)
        assert np.array_equal(np.asarray(sample["jpg"]), np.asarray(read_image(example.media[0])))


@pytest.mark.peer
@LEFT_OPEN
def test_open_clip_counts_it(tmp_path: Path) -> None:
    data = pytest.importorskip("open_clip_train.data")
    pack(tmp_path / "out", captioned(tmp_path / "data"), shard_size=2)

    assert data.get_dataset_size(str(tmp_path / "out" / "{00000..00002}.tar")) == (5, 3)


def test_large_pictures_are_made_smaller_and_small_ones_stay(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "cat"
    folder.mkdir(parents=True)
    drawn(1, (90, 300)).save(folder / "tall.png")
    drawn(2, (301, 100)).save(folder / "wide.jpg")
    drawn(3, (40, 300)).save(folder / "small.png")

    pack(tmp_path / "out", tmp_path / "data", shorter_side=40)

    found = list(find(tmp_path / "out").read())
    assert [read_image(example.media[0]).size for example in found] == [(40, 300), (40, 133), (120, 40)]
    assert [str(example.media[0]).rpartition(".")[2] for example in found] == ["png", "jpg", "jpg"]
    assert bytes_of(found[0]) == (folder / "small.png").read_bytes()
    expected = drawn(1, (90, 300)).resize((40, 133), Image.Resampling.LANCZOS)
    difference = np.asarray(read_image(found[1].media[0]), dtype=float) - np.asarray(expected, dtype=float)
    assert abs(difference).mean() < 3  # what JPEG loses


@pytest.mark.parametrize(
    ("kind", "ending"),
    [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("BMP", "png"), ("GIF", "png"), ("PPM", "png")],
)
def test_kinds_of_pictures(tmp_path: Path, kind: str, ending: str) -> None:
    captioned(tmp_path / "data", 1)
    file = tmp_path / "data" / "0.jpg"  # the name says nothing about the kind
    drawn(5).save(file, kind)

    pack(tmp_path / "out", tmp_path / "data" / "captions.jsonl")

    (example,) = find(tmp_path / "out").read()
    assert str(example.media[0]).endswith(f"000000000.{ending}")
    assert np.array_equal(np.asarray(read_image(example.media[0])), np.asarray(read_image(file)))
    assert (bytes_of(example) == file.read_bytes()) == (kind in ("JPEG", "PNG", "WEBP"))


def test_drawn_pictures_lose_nothing(tmp_path: Path) -> None:
    pack(tmp_path / "out", "digits", limit=20)

    drawn_ones = list(find("digits").read())[:20]
    packed = list(find(tmp_path / "out").read())
    assert [example.texts for example in packed] == [example.texts for example in drawn_ones]
    for one, other in zip(packed, drawn_ones, strict=True):
        assert np.array_equal(np.asarray(read_image(one.media[0])), np.asarray(read_image(other.media[0])))


def test_streams_and_shards_can_be_packed_anew(tmp_path: Path) -> None:
    members = [("a.jpg", jpeg_bytes(drawn(1))), ("a.txt", "a cat"), ("b.png", png_bytes(2)), ("b.txt", "a dog\ntwo")]
    shard = write_shard(tmp_path / "in" / "0.tar", members)

    pack(tmp_path / "file", shard)
    pack(tmp_path / "stream", f"pipe:cat {shlex.quote(str(shard))}")

    assert content(find(shard)) == content(find(tmp_path / "file")) == content(find(tmp_path / "stream"))


def png_bytes(seed: int) -> bytes:
    out = io.BytesIO()
    drawn(seed).save(out, "PNG")
    return out.getvalue()


def test_pictures_that_cannot_be_read_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = captioned(tmp_path / "data", 40)
    (tmp_path / "data" / "3.jpg").write_bytes(b"no picture")
    (tmp_path / "data" / "7.jpg").unlink()

    packed = pack(tmp_path / "out", table, shard_size=38)

    assert packed == Packed(38, 1, 2)
    err = capsys.readouterr().err
    assert "left out: " in err
    assert "3.jpg: not a picture that can be read" in err
    assert "7.jpg: the file does not exist" in err
    kept = [example.texts[0] for example in find(tmp_path / "out").read()]
    assert kept == [f"picture {n}, a žába" for n in range(40) if n not in (3, 7)]


def test_too_many_unreadable_pictures_stop_it(tmp_path: Path) -> None:
    table = captioned(tmp_path / "data", 10)
    (tmp_path / "data" / "3.jpg").write_bytes(b"no picture")

    with pytest.raises(BadExample, match="1 of 10 examples cannot be read, which is more than 5 %"):
        pack(tmp_path / "out", table)
    assert not (tmp_path / "out" / "index.json").exists()


def test_a_folder_with_shards_is_left_alone(tmp_path: Path) -> None:
    table = captioned(tmp_path / "data")
    pack(tmp_path / "out", table)
    before = shards(tmp_path / "out")

    with pytest.raises(CocaError, match=r"already holds 1 shards, such as 00000\.tar: choose another --output, or"):
        pack(tmp_path / "out", table, shard_size=1)
    assert shards(tmp_path / "out") == before


def test_overwriting_leaves_nothing_of_the_old_pack(tmp_path: Path) -> None:
    pack(tmp_path / "out", class_folders(tmp_path / "classes"), shard_size=4)
    (tmp_path / "out" / "notes.md").write_text("mine")
    table = captioned(tmp_path / "data", 3)

    pack(tmp_path / "out", table, shard_size=2, overwrite=True)

    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["00000.tar", "00001.tar", "index.json", "notes.md", "sizes.json"]
    assert content(find(tmp_path / "out")) == content(find(table))


def test_a_pack_can_be_packed_into_its_own_place(tmp_path: Path) -> None:
    pack(tmp_path / "out", captioned(tmp_path / "data", 9), shard_size=2)
    before = content(find(tmp_path / "out"))

    pack(tmp_path / "out", tmp_path / "out", shard_size=4, overwrite=True)

    assert list(shards(tmp_path / "out")) == ["00000.tar", "00001.tar", "00002.tar"]
    assert content(find(tmp_path / "out")) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_interrupted_leaves_whole_shards_or_the_old_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool
) -> None:
    table = captioned(tmp_path / "data", 9)
    if overwrite:
        pack(tmp_path / "out", class_folders(tmp_path / "classes"))
    old = shards(tmp_path / "out")

    def stop(source: Source, example: Example) -> dict[str, Any]:
        if example.id == "5.jpg":
            raise KeyboardInterrupt
        return describe(source, example)

    describe = module._describe
    monkeypatch.setattr(module, "_describe", stop)
    with pytest.raises(KeyboardInterrupt):
        pack(tmp_path / "out", table, shard_size=2, overwrite=overwrite)

    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    if overwrite:
        assert shards(tmp_path / "out") == old
        assert all(not name.startswith(".") for name in names)
    else:
        assert names == ["00000.tar", "00001.tar", "sizes.json"]
        pack(tmp_path / "new", tmp_path / "out")
        assert len(content(find(tmp_path / "out"))) == 4


def test_shards_are_replaced_by_themselves_and_not_removed_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped while the old shards make room: each picture is still there, in a shard or in the folder beside."""
    pack(tmp_path / "out", captioned(tmp_path / "data", 9), shard_size=2)
    before = content(find(tmp_path / "out"))
    unlink = Path.unlink

    def stop(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".tar" and path.parent == tmp_path / "out":
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", stop)
    with pytest.raises(KeyboardInterrupt):
        pack(tmp_path / "out", tmp_path / "out", shard_size=4, overwrite=True)
    monkeypatch.undo()
    left = [entry for shard in sorted((tmp_path / "out").glob("*.tar")) for entry in read_shard(shard)]
    assert {entry.texts["txt"] for entry in left} == {f"picture {number}, a žába" for number in range(9)}
    assert before[0][2][0] == "picture 0, a žába"


@pytest.mark.parametrize(("limit", "expected"), [(1, [2]), (2, [3, 1]), (100, [3, 3, 2])])
def test_a_limit_counts_in_each_source(tmp_path: Path, limit: int, expected: Sequence[int]) -> None:
    data = [captioned(tmp_path / name, 4) for name in ("a", "b")]

    packed = pack(tmp_path / "out", *data, shard_size=3, limit=limit)

    assert packed == Packed(sum(expected), len(expected), 0)
    assert list(json.loads((tmp_path / "out" / "sizes.json").read_text()).values()) == expected


def test_halves_of_letters_do_not_stop_it(tmp_path: Path) -> None:
    captioned(tmp_path / "data", 1)
    (tmp_path / "data" / "a.jsonl").write_text('{"image": "0.jpg", "caption": "a \\ud83d cat"}')

    pack(tmp_path / "out", tmp_path / "data" / "a.jsonl")

    assert [example.texts for example in find(tmp_path / "out").read()] == [("a ? cat",)]


def test_real_pictures_come_back(test_data: Path, tmp_path: Path) -> None:
    source = f"{test_data / 'coco_mini' / 'captions_val2017.json'}"

    pack(tmp_path / "out", source, shard_size=random.Random(0).randrange(7, 30))

    assert content(find(tmp_path / "out")) == content(find(source))


@pytest.mark.parametrize("packed", [True, False])
def test_tars_of_others_are_left_alone(tmp_path: Path, packed: bool) -> None:
    table, out = captioned(tmp_path / "data"), tmp_path / "out"
    if packed:
        pack(out, table, shard_size=2)
    write_shard(out / ("mydata.tar" if packed else "00000.tar"), [("a.txt", "mine")])
    before = shards(out)

    for data in (table, out):
        with pytest.raises(CocaError, match="and new shards would mix with them: choose another --output, or move"):
            pack(out, data, overwrite=True)
    assert shards(out) == before


def test_a_source_that_gave_nothing_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, folder = captioned(tmp_path / "data", 30), class_folders(tmp_path / "classes", ("cat",), 1)
    (picture,) = folder.glob("cat/*")
    picture.write_bytes(b"no picture")

    request = PackRequest(data=[str(table), f"labels:{folder}"], root=NO_ROOT, output=tmp_path / "out")
    pack_sources(request, Reporter())

    err = capsys.readouterr().err
    assert f"warning: nothing of labels:{folder} was packed" in err
    assert "both kinds" not in err
