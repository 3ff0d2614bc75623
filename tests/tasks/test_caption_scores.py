"""The scores are pycocoevalcap's own, on corpora and picture by picture, and their intervals are what they say."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor import meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer import ptbtokenizer

from coca_cli.tasks import caption_scores, java_scorers
from coca_cli.tasks.caption_scores import (
    CaptionScores,
    cider_of,
    meteor_of,
    score_captions,
    without_whole_chunks,
)
from coca_cli.tasks.java_scorers import METEOR, TOKENIZER, find_java, meteor_statistics
from tests.tasks.test_java_scorers import PACKAGE, SEPARATORS, quick_meteor  # noqa: F401  (a fixture)

pytestmark = pytest.mark.usefixtures("quick_meteor")

Candidates = Mapping[str, str]
References = Mapping[str, Sequence[str]]

METRICS = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr")
WRITTEN: dict[str, tuple[str, tuple[str, ...]]] = {
    "dog": ("A dog runs over the grass.", ("A dog runs over a field of grass", "the dog is running")),
    "whole": ("two red buses beside a tree", ("two red buses beside a tree", "some buses")),
    "letters": ("Ein großes Öl-Kännchen für 3 €, 日本", ("ein großes Kännchen steht für 3 €", "日本 の 文")),
    "points": ("... ! ? ;", ("a bus", "a red bus.")),
    "empty": ("", ("a red bus", "a bus.")),
    "both empty": ("", ("!", "...")),
    "numbers": ("a 1 1/2 inch nail, call (555) 555-5555", ("a 1 1/2 inch nail lies there", "call (555) 555-5555")),
    "word": ("cat", ("a cat on the couch", "a black cat", "cats")),
    "repeats": ("the the the the cat cat", ("the cat is on the mat", "there is a cat")),
    "nothing": ("completely unrelated words", ("a blue train", "trains at a station")),
    "paraphrase": ("the big dog is next to a sofa", ("a large dog is beside the couch",)),
    "long": ("a cat " * 12 + "'s tail isn't red", ("a cat's tail isn't red", "the tail of a cat")),
}
CANDIDATES = {name: text for name, (text, _) in WRITTEN.items()}
REFERENCES = {name: texts for name, (_, texts) in WRITTEN.items()}


class Peer(NamedTuple):
    """pycocoevalcap with a Java on PATH, leaving no files in its folder."""

    meteor: meteor.Meteor

    def tokenise(self, captions: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        rows = {name: [{"caption": text} for text in texts] for name, texts in captions.items()}
        found: dict[str, list[str]] = ptbtokenizer.PTBTokenizer().tokenize(rows)
        return found

    def scores(self, candidates: Candidates, references: References) -> tuple[dict[str, float], dict[str, list[float]]]:
        wanted = self.tokenise({name: references[name] for name in candidates})
        written = self.tokenise({name: [text] for name, text in candidates.items()})
        corpus, each = Bleu(4).compute_score(wanted, written, verbose=0)
        scores = {f"BLEU-{n}": score for n, score in enumerate(corpus, start=1)}
        scores_each = {f"BLEU-{n}": found for n, found in enumerate(each, start=1)}
        for metric, scorer in (("METEOR", self.meteor), ("ROUGE-L", Rouge()), ("CIDEr", Cider())):
            scores[metric], scores_each[metric] = scorer.compute_score(wanted, written)
        return scores, scores_each


def started_peer(folder: Path, meteor_folder: Path) -> Iterator[Peer]:
    (folder / Path(TOKENIZER).name).symlink_to(PACKAGE / TOKENIZER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", os.pathsep.join((str(Path(find_java(None)).parent), os.environ["PATH"])))
        patch.setattr(ptbtokenizer, "__file__", str(folder / "ptbtokenizer.py"))  # it writes where it lies
        patch.setattr(meteor, "__file__", str(meteor_folder / "meteor.py"))
        scorer = meteor.Meteor()
        try:
            yield Peer(scorer)
        finally:
            scorer.meteor_p.kill()
            scorer.meteor_p.communicate()


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory, quick_meteor: Path) -> Iterator[Peer]:  # noqa: F811
    yield from started_peer(tmp_path_factory.mktemp("peer"), (quick_meteor / METEOR).parent)


@pytest.fixture(scope="module")
def java() -> str:
    return find_java(None)


@pytest.fixture(scope="module", autouse=True)
def _no_spice() -> Iterator[None]:
    """Whether or not its models lie on this machine: it takes minutes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(caption_scores, "spice_is_there", lambda: False)
        yield


@pytest.fixture(scope="module")
def scored(java: str, quick_meteor: Path) -> CaptionScores:  # noqa: F811
    return score_captions(CANDIDATES, REFERENCES, java)


def assert_equal_scores(found: CaptionScores, scores: Mapping[str, float], each: Mapping[str, Sequence[float]]) -> None:
    assert set(found.scores) == set(found.each) == set(scores) == set(METRICS)
    for metric in METRICS:
        assert found.scores[metric].value == pytest.approx(scores[metric], abs=1e-6), metric
        assert found.each[metric] == pytest.approx(np.array(each[metric]), abs=1e-6), metric


@pytest.mark.peer
def test_captions_of_all_kinds_score_as_in_pycocoevalcap(scored: CaptionScores, peer: Peer) -> None:
    assert_equal_scores(scored, *peer.scores(CANDIDATES, REFERENCES))
    each = {metric: dict(zip(CANDIDATES, found, strict=True)) for metric, found in scored.each.items()}
    for metric in METRICS:
        assert each[metric]["nothing"] < 1e-3
        assert each[metric]["points"] == each[metric]["empty"] < 1e-3
    assert each["ROUGE-L"]["numbers"] < each["ROUGE-L"]["whole"] == pytest.approx(1)
    assert each["METEOR"]["paraphrase"] > 0.2


@pytest.fixture(scope="module")
def real(test_data: Path) -> dict[str, tuple[Candidates, References]]:
    """Captions of COCO: one of people's against the others, perfect and cut ones, the official fake results."""
    folder = test_data / "coco_captions"
    content = json.loads((folder / "captions_val2017.json").read_text())
    captions: dict[str, list[str]] = {}
    for row in content["annotations"]:
        captions.setdefault(str(row["image_id"]), []).append(row["caption"])
    names = sorted(captions)[:150]
    others = {name: captions[name][1:] for name in names}
    cut = {name: " ".join(captions[name][0].split()[: 2 + n % 4]) for n, name in enumerate(names)}
    perfect = {name: captions[name][2] for name in names[::2]}
    fake = json.loads((folder / "captions_val2017_fakecap_results.json").read_text())[:200]
    return {
        "people": ({name: captions[name][0] for name in names}, others),
        "perfect or cut": ({**cut, **perfect}, others),
        "fake": ({str(row["image_id"]): row["caption"] for row in fake}, captions),
    }


@pytest.mark.peer
@pytest.mark.parametrize("kind", ["people", "perfect or cut", "fake"])
def test_real_captions_score_as_in_pycocoevalcap(
    java: str, peer: Peer, real: dict[str, tuple[Candidates, References]], kind: str
) -> None:
    found = score_captions(*real[kind], java)
    scores, each = peer.scores(*real[kind])
    assert_equal_scores(found, scores, each)
    assert len(each["CIDEr"]) == (200 if kind == "fake" else 150)
    if kind == "people":
        assert 0.1 < scores["BLEU-4"] < 0.5
        assert 0.5 < scores["CIDEr"] < 1.5
    if kind == "perfect or cut":
        assert each["ROUGE-L"][::2] == pytest.approx(np.ones(75))
        assert max(each["ROUGE-L"][1::2]) < 0.9


@pytest.mark.peer
@pytest.mark.slow
def test_real_captions_score_so_with_all_of_meteors_paraphrases(
    java: str, real: dict[str, tuple[Candidates, References]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(java_scorers, "_jar", lambda name: PACKAGE / name)
    candidates = {f"{kind} {name}": text for kind, (texts, _) in real.items() for name, text in texts.items()}
    references = {f"{kind} {name}": wanted[name] for kind, (texts, wanted) in real.items() for name in texts}
    for peer in started_peer(tmp_path, (PACKAGE / METEOR).parent):
        assert_equal_scores(score_captions(candidates, references, java), *peer.scores(candidates, references))


def test_line_separators_move_no_score(java: str, scored: CaptionScores) -> None:
    def broken(number: int, text: str) -> str:
        return text.replace(" ", SEPARATORS[number % len(SEPARATORS)])

    candidates = {name: broken(n, text) for n, (name, text) in enumerate(CANDIDATES.items())}
    references = {name: [broken(n, text) for text in texts] for n, (name, texts) in enumerate(REFERENCES.items())}
    found = score_captions(candidates, references, java)
    assert found.scores == scored.scores
    for metric in METRICS:
        assert found.each[metric].tolist() == scored.each[metric].tolist()


def test_cider_alone_is_that_of_all_scores(java: str, scored: CaptionScores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caption_scores, "meteor_statistics", lambda *_: pytest.fail("METEOR was started"))
    assert cider_of(CANDIDATES, REFERENCES, java) == scored.scores["CIDEr"].value > 0.5


@pytest.mark.peer
def test_meteors_formula_is_the_programs_own(java: str, peer: Peer) -> None:
    random = np.random.default_rng(0)
    words = (
        "a",
        "the",
        "two",
        "big",
        "large",
        "dog",
        "dogs",
        "runs",
        "next",
        "to",
        "beside",
        "on",
        "red",
        "in",
        "tree",
    )

    def sentence() -> str:
        return " ".join(random.choice(words, random.integers(0, 9)))

    references = {str(n): [sentence() or "a" for _ in range(random.integers(1, 4))] for n in range(120)}
    candidates = {name: texts[-1] if int(name) % 5 == 0 else sentence() for name, texts in references.items()}
    statistics = meteor_statistics(java, list(candidates.values()), list(references.values()))
    counted = without_whole_chunks(statistics)
    whole, each = peer.meteor.compute_score(references, {name: [text] for name, text in candidates.items()})
    assert float(meteor_of(counted.sum(axis=0))) == pytest.approx(whole, abs=1e-9)
    assert meteor_of(counted) == pytest.approx(np.array(each), abs=1e-9)
    assert (statistics[:, 4:20].sum(axis=0) > 0).sum() >= 8  # so that most matchers tell in it
    assert 24 <= (counted[:, 20] != statistics[:, 20]).sum() < 60
    assert float(meteor_of(statistics.sum(axis=0))) != pytest.approx(whole, abs=1e-4)


def made_captions(n: int) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Captions that share some of their words with references."""
    random = np.random.default_rng(3)
    words = np.array([f"{a}{b}" for a in "bdfgk" for b in ("a", "e", "i", "o", "u", "al", "er", "in")])
    references = {str(i): [" ".join(random.choice(words, 8)) for _ in range(3)] for i in range(n)}
    candidates = {}
    for name, texts in references.items():
        kept = texts[0].split()[: random.integers(0, 8)]
        candidates[name] = " ".join([*kept, *random.choice(words, 3)])
    return candidates, references


@pytest.fixture
def no_java(monkeypatch: pytest.MonkeyPatch) -> None:
    """Captions that are words already, and alignments that follow from them."""

    def aligned(java: str, candidates: Sequence[str], references: Sequence[Sequence[str]]) -> NDArray[np.float64]:
        rows = []
        for candidate, (reference, *_) in zip(candidates, references, strict=True):
            words, wanted = candidate.split(), reference.split()
            same = len(set(words) & set(wanted))
            rows.append([len(words), len(wanted), 0, 0, same, same, *[0] * 14, max(1, same // 2), same, same])
        return np.array(rows, dtype=np.float64)

    monkeypatch.setattr(caption_scores, "tokenise", lambda _, texts: list(texts))
    monkeypatch.setattr(caption_scores, "meteor_statistics", aligned)


@pytest.mark.usefixtures("no_java")
def test_intervals_of_means_are_those_of_the_central_limit() -> None:
    found = score_captions(*made_captions(300), "java")
    for metric in ("ROUGE-L", "CIDEr"):
        value, low, high = found.scores[metric]
        error = 1.96 * found.each[metric].std() / 300**0.5
        assert value == pytest.approx(found.each[metric].mean(), abs=1e-12)
        assert value - low == pytest.approx(error, rel=0.12)
        assert high - value == pytest.approx(error, rel=0.12)
        assert error > 0.02 * value


@pytest.mark.usefixtures("no_java")
def test_every_interval_holds_its_score_and_has_a_width() -> None:
    for value, low, high in score_captions(*made_captions(40), "java").scores.values():
        assert 0 < low < value < high


@pytest.mark.usefixtures("no_java")
def test_the_interval_of_bleu_is_that_of_resampled_counts() -> None:
    """By another way: the corpus itself is drawn again, and pycocoevalcap scores it."""
    candidates, references = made_captions(40)
    found = score_captions(candidates, references, "java").scores["BLEU-2"]
    random, drawn = np.random.default_rng(9), []
    for _ in range(200):
        sample = {str(n): str(row) for n, row in enumerate(random.integers(0, 40, 40))}
        wanted, written = ({n: of[name] for n, name in sample.items()} for of in (references, candidates))
        scores, _ = Bleu(4).compute_score(wanted, {n: [text] for n, text in written.items()}, verbose=0)
        drawn.append(scores[1])
    low, high = np.percentile(drawn, (2.5, 97.5))
    assert found.low == pytest.approx(low, abs=0.25 * (high - low))
    assert found.high == pytest.approx(high, abs=0.25 * (high - low))
    assert found.high - found.low == pytest.approx(high - low, rel=0.25)


@pytest.mark.usefixtures("no_java")
def test_a_seed_gives_the_same_intervals_and_another_one_others() -> None:
    made = made_captions(40)
    first, again, other = (score_captions(*made, "java", seed=seed).scores for seed in (5, 5, 6))
    assert first == again
    for metric in METRICS:
        assert first[metric].value == other[metric].value
        assert first[metric][1:] != other[metric][1:]


@pytest.mark.usefixtures("no_java")
def test_document_frequencies_stay_those_of_all_pictures() -> None:
    """Ten pictures of each of two kinds, alike but for their words: only other frequencies could tell samples apart."""
    kinds = (("a b c d x", "a b c d e"), ("f g h i y", "f g h i j"))
    candidates = {f"{kind}{n}": kinds[kind][0] for n in range(10) for kind in (0, 1)}
    references = {f"{kind}{n}": [kinds[kind][1]] for n in range(10) for kind in (0, 1)}
    for metric, (value, low, high) in score_captions(candidates, references, "java").scores.items():
        assert (low, high) == pytest.approx((value, value), abs=1e-9), metric
        assert value > 0.1, metric


@pytest.mark.usefixtures("no_java")
def test_captions_that_spice_cannot_parse_count_as_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made = made_captions(4)
    monkeypatch.setattr(caption_scores, "spice_is_there", lambda: True)
    monkeypatch.setattr(caption_scores, "spice_scores", lambda *_: np.array([0.5, np.nan, 0.3, 0.0]))
    found = score_captions(*made, "java")
    assert set(found.scores) == {*METRICS, "SPICE"}
    assert found.scores["SPICE"].value == pytest.approx(0.2)
    assert 0 <= found.scores["SPICE"].low < 0.2 < found.scores["SPICE"].high <= 0.5
    assert np.isnan(found.each["SPICE"]).tolist() == [False, True, False, False]
