"""The page, read as text and opened in a headless Chromium where there is one."""

from __future__ import annotations

import html
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from coca_cli.details import Details
from coca_cli.reports.html_page import build_page
from coca_cli.results import Run, latest, settings_hash
from coca_cli.store import Store
from tests.browser import loaded_in_browser
from tests.reports.rows import make_row, six_rows

WHEN = "2025-01-31T12:00:00Z"
VOID = {"meta", "link", "img", "br", "input", "use", "path", "defs"}


def jpeg(seed: int, side: int = 32) -> bytes:
    data = io.BytesIO()
    array = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(array).save(data, "JPEG")
    return data.getvalue()


def look(
    name: str, label: str, said: list[list[object]], pictures: list[bytes], maps: list[object] | None
) -> dict[str, object]:
    found = {"kind": "look", "id": name, "label": label, "said": said, "pictures": pictures}
    return found if maps is None else {**found, "maps": maps}


def record(store: Store, task: str, dataset: str, split: str, values: dict[str, float], details: Details) -> None:
    settings: dict[str, object] = {"task": task, "prompts": ["a {c} <b>&amp;"]}
    rows = [
        make_row(
            task=task,
            dataset=dataset,
            split=split,
            metric=metric,
            value=value,
            settings=settings_hash(settings),
            when=WHEN,
        )
        for metric, value in values.items()
    ]
    run = Run(
        task=task,
        dataset=dataset,
        command=f"coca eval {task} -d '{dataset} <x>'",
        settings=settings,
        versions={"coca": "1"},
        seconds=1.0,
        when=WHEN,
        model_folder=str(store.folder / "model"),
    )
    store.append(rows, run, details)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with a run of every kind that leaves something to see."""
    store = Store(tmp_path_factory.mktemp("page") / "results")
    labels = [0, 0, 1, 1, 2, 2, 2, 2]
    said = [0, 1, 1, 1, 0, 2, 2, 2]
    hits = [int(a == b) for a, b in zip(labels, said, strict=True)]
    grid = (np.arange(16).reshape(4, 4) / 120).tolist()
    looks = [
        look("a", "cat <1>", [["cat <1>", 0.9], ["dog", 0.1]], [jpeg(1)], [grid]),
        look("b", "dog", [["cat <1>", 0.9]], [jpeg(2), jpeg(3)], [grid, grid]),
        look("c", "dog", [["dog", 0.9]], [jpeg(2)], None),
    ]
    columns = {"id": list("abcdefgh"), "label": labels, "said": said, "top-1": hits}
    details = Details(tables={"examples": columns}, facts={"class_names": ["cat <1>", "dog", "bird"]}, samples=looks)
    record(store, "zeroshot", "imagenet", "val", {"top-1": 75.0}, details)
    store.append(
        six_rows(model="other", settings=settings_hash({}), when=WHEN)[:1],
        Run(task="zeroshot", dataset="imagenet", command="coca", settings={}, versions={}, seconds=1.0, when=WHEN),
    )
    ranks = {"image-to-text": {"id": ["a", "b"], "rank": [1, 2]}}
    ranks["text-to-image"] = {"id": ["a#0", "b#0"], "of": ["a", "b"], "rank": [2, 1]}
    query = {"kind": "retrieval", "text": "a <red> ball", "found": [jpeg(4), None], "right": [False, True]}
    queries = [query | {"place": 2, "total": 9}]
    record(
        store, "retrieval", "coco", "test 5k", {"image-to-text recall@1": 50.0}, Details(tables=ranks, samples=queries)
    )
    written = {"kind": "caption", "id": "a", "pictures": [jpeg(5, 300)], "caption": "a <dog>"}
    captions = [written | {"references": ["a dog"], "CIDEr": 81.0}]
    record(store, "caption", "coco", "test", {"CIDEr": 81.0}, Details(samples=captions))
    answers = [
        {"kind": "answer", "id": "q", "pictures": [jpeg(6), jpeg(7)], "question": "how many <cats>?", "answer": "two",
         "expected": "three", "accuracy": 0.3}
    ]  # fmt: skip
    record(store, "understanding", "vqav2", "val", {"accuracy": 30.0}, Details(samples=answers))
    (store.folder / "model").mkdir()
    lines = [{"step": n, "loss": 9.0 - n / 50, "contrastive": 3.0, "val accuracy": float(n)} for n in range(1, 200)]
    (store.folder / "model/metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"step": 4')
    return store


@pytest.fixture(scope="module")
def page(store: Store) -> str:
    return build_page(store, latest(store.rows()), title="Mine & theirs", against="CoCa-Large")


class Reader(HTMLParser):
    """Notes ids, links and what is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids += [str(values["id"])] if "id" in values else []
        self.links += [str(values["href"])] if tag == "a" else []
        self.images += [values] if tag == "img" else []
        self.addresses += [str(values[name]) for name in ("src", "href", "xlink:href", "action") if name in values]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag, tag


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def test_the_page_needs_nothing_from_elsewhere(page: str) -> None:
    reader = read(page)
    assert all(address.startswith(("data:", "#")) for address in reader.addresses)
    styles = re.findall(r"url\(([^)]*)\)", page)
    assert all(address.strip("'\"").startswith("#") for address in styles)
    assert "@import" not in page


def test_every_link_leads_somewhere_and_every_picture_is_described(page: str) -> None:
    reader = read(page)
    assert {link.removeprefix("#") for link in reader.links} <= set(reader.ids)
    assert len(reader.images) == 11
    assert all(image.get("alt") for image in reader.images)
    sections = [name for name in reader.ids if re.fullmatch("[a-z]+", name)]
    seen = ["results", "recall", "confusions", "retrieval", "captions", "questions", "attention", "training", "runs"]
    wanted = ["main", "paper", *seen]
    assert sections == wanted


def test_what_comes_from_data_is_text_and_no_markup(page: str) -> None:
    for text in ("<red>", "<dog>", "<cats>", "cat <1>", "<x>", "Mine & theirs"):
        assert html.escape(text, quote=False) in page
    for markup in ("<red>", "<dog>", "<cats>", "<x>"):
        assert markup not in page


def test_tables_have_heads_captions_and_the_users_lines_shaded(page: str) -> None:
    tables = re.findall(r'<table class="sortable">.*?</table>', page, re.DOTALL)
    assert len(tables) >= 7
    for table in tables:
        assert table.count("<caption>") == 1
        heads = table.count('<th scope="col"')
        for line in re.findall(r"<tr class.*?</tr>", table, re.DOTALL):
            assert len(re.findall(r"<t[hd][ >]", line)) == heads
    four = next(table for table in tables if "Table 4" in table)
    mine = re.findall(r'<tr class="mine.*?</tr>', four, re.DOTALL)
    assert [re.sub("<.*?>", " ", line).split()[0] for line in mine] == ["mine", "minus", "other", "minus"]
    assert 'title="arXiv 2205.01917v2; ' in four


def test_a_store_without_details_has_a_page_too(tmp_path: Path) -> None:
    run = Run(task="zeroshot", dataset="digits", command="coca", settings={}, versions={}, seconds=1.0, when=WHEN)
    store = Store(tmp_path)
    store.append([make_row(dataset="digits", settings=settings_hash({}), when=WHEN)], run)
    reader = read(build_page(store, store.rows()))
    assert [name for name in reader.ids if re.fullmatch("[a-z]+", name)] == ["main", "results", "runs"]


def test_charts_say_in_words_what_they_show(page: str) -> None:
    labels = [html.unescape(label) for label in re.findall(r'role="img" aria-label="(.*?)"', page, re.DOTALL)]
    recall = next(label for label in labels if label.startswith("Recall on coco"))
    assert "mine, image-to-text: from 50 at 1 to 100 at 2" in recall
    assert any(label.startswith("Training of mine. loss over step. loss: from 8.98 at 1") for label in labels)
    assert "#010203" not in page


def test_a_frames_part_is_that_of_the_whole_clip(tmp_path: Path) -> None:
    run = Run(task="zeroshot", dataset="digits", command="coca", settings={}, versions={}, seconds=1.0, when=WHEN)
    store = Store(tmp_path)
    even = np.full((2, 2), 1 / 64).tolist()  # of 16 frames, of which two are shown
    shown = look("a", "wave", [["wave", 0.9]], [jpeg(1), jpeg(2)], [even, even])
    store.append([make_row(dataset="digits", settings=settings_hash({}), when=WHEN)], run, Details(samples=[shown]))
    assert build_page(store, store.rows()).count("<figcaption>6.2 %</figcaption>") == 2


# --- in a browser ---

EAGER = "<script>Array.from(document.images).forEach((p) => (p.loading = 'eager'));</script>"  # the load event waits
PROBE = """<script>addEventListener("load", () => {
  const tables = Array.from(document.querySelectorAll("table.sortable"));
  const table = tables.find((t) => t.caption.textContent.includes("Table 4"));
  const column = () => Array.from(table.tBodies[0].rows).map((r) => r.cells[1].textContent.trim().split(" ")[0]);
  const names = () => Array.from(table.tBodies[0].rows).map((r) => r.cells[0].textContent.trim());
  const heads = table.tHead.rows[0].cells;
  const before = column();
  heads[1].querySelector("button").click();
  const down = column(), said = heads[1].getAttribute("aria-sort");
  heads[1].querySelector("button").click();
  const up = column();
  heads[0].querySelector("button").click();
  const found = {before, down, said, up, names: names(), other: heads[1].getAttribute("aria-sort"),
    pictures: Array.from(document.images).map((p) => p.naturalWidth),
    wide: document.documentElement.scrollWidth, view: innerWidth,
    ink: getComputedStyle(document.body).color, paper: getComputedStyle(document.body).backgroundColor};
  document.documentElement.dataset.found = JSON.stringify(found);
});</script>"""


def browse(page: str, folder: Path, *options: str) -> dict[str, Any]:
    """What a browser makes of the page."""
    (folder / "page.html").write_text(page.replace("</body>", f"{EAGER}{PROBE}</body>"))
    found = re.search(r'data-found="(.*?)"', loaded_in_browser(folder / "page.html", folder / "user", *options))
    assert found is not None
    return dict(json.loads(html.unescape(found[1])))


def test_in_a_browser_pictures_show_and_tables_sort(page: str, tmp_path: Path) -> None:
    found = browse(page, tmp_path, "--window-size=1200,900")
    assert len(found["pictures"]) == 11
    assert min(found["pictures"]) > 0
    numbers = [float(value) for value in found["down"] if re.fullmatch(r"[\d.]+", value)]
    assert numbers == sorted(numbers, reverse=True)
    assert found["down"] != found["before"]
    assert found["said"] == "descending"
    names = found["names"]
    for model in ("mine", "other"):
        assert names[names.index(model) + 1] == "minus CoCa-Large"
    rising = [float(value) for value in found["up"] if re.fullmatch(r"[\d.]+", value)]
    assert rising == sorted(numbers)
    assert sorted(found["names"], key=str.lower)[0] == found["names"][0]
    assert found["other"] is None


def test_on_a_phone_nothing_is_wider_than_the_screen(page: str, tmp_path: Path) -> None:
    found = browse(page, tmp_path, "--window-size=500,900")  # the narrowest window that a headless Chromium opens
    assert found["wide"] <= found["view"]


def test_dark_colours_are_other_ones(page: str, tmp_path: Path) -> None:
    light = browse(page, tmp_path)
    dark = browse(page, tmp_path, "--blink-settings=preferredColorScheme=0")
    assert light["paper"] != dark["paper"]
    assert light["ink"] != dark["ink"]
