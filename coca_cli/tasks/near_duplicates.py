"""Which pictures of evaluation sets a training picture shows: the same pixels, an edited copy, a near embedding.

An edited copy is one that was encoded anew, resized, cropped or mirrored. It is looked for in two steps. Hashes that
differ in few bits name the candidates; among millions of pairs they always name wrong ones, most of all in pictures
with little texture such as sea and desert, so a pair counts only if the details agree when one picture is laid over
the other. What is too flat to be told apart is found as an exact copy alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from coca_cli.media.alignment import Agreement, Grey, agree_roughly, compare_details, is_flat, middle_within
from coca_cli.media.hashes import EVALUATION_LOOKS, TRAINING_LOOKS

MAX_DISTANCE = 12
"""Bits of 64 in which the nearest hashes of a candidate may differ. Of pictures that were cropped at random, mirrored
and encoded anew, 99.5 % are within 12 bits and 97 % within 10; of pairs of different pictures 0.02 to 0.03 % are within
12 and 0.2 % within 14, and every one of them must be looked at."""

LEAST_ROUGHLY = 0.6
"""A candidate whose brightness correlates less before it is aligned is no pair: 99.9 % of the true ones are above,
three quarters of the false ones below."""

LEAST_CORRELATION = 0.75
"""Of the details after alignment. Among 0.6 million pairs of different photographs none is above 0.35; among 9.5
million pairs of different aerial pictures of 96 pixels none is above 0.75, and among 38 million further ones 7 are.
True pairs of photographs are above 0.9, whatever was done to them; what true pairs of such aerial pictures reach is
measured in `tests/tasks/test_near_duplicates.py`."""

LEAST_EVERYWHERE = 0.65
"""How much of the correlation the mean of the picture's parts must reach. Of the 7 false pairs this leaves 2, stadiums
of one design; the other 5 are bridges and baseball fields, a single shape on an even ground. It costs 0.3 % of the true
pairs of aerial pictures, all of them JPEG of quality 30 to 50, and none of photographs."""

WEAK_DETAIL = 2.0
LEAST_WEAK_CORRELATION = 0.5
"""Asked for where the details of both are weaker than `WEAK_DETAIL` grey levels, as in deserts, and the noise of the
encoder is as strong as they are. Among 76,000 pairs of different aerial pictures below 3 grey levels none is above
0.28."""

FoundBy = Literal["copy", "hash", "embedding"]

_TILE = (8, 8192)  # hashes compared at once: the buffers stay in the cache of a core
_SPAN = 8 * _TILE[1]  # hashes of evaluation pictures that one thread goes through at a time
_COLUMNS = 65_536  # embeddings compared at once


class Match(NamedTuple):
    """A training picture that shows an evaluation picture.

    Attributes:
        picture: Row of the training picture in its block.
        evaluation: Row of the evaluation picture.
        found_by: The strongest reason.
        mirrored: The training picture is the mirror image.
        distance: Bits in which the nearest hashes differ; None where hashes found nothing.
        correlation: Of the details; None where hashes found nothing.
        cosine: Of the embeddings; None without embeddings.
    """

    picture: int
    evaluation: int
    found_by: FoundBy
    mirrored: bool = False
    distance: int | None = None
    correlation: float | None = None
    cosine: float | None = None


class _Candidate(NamedTuple):
    picture: int
    evaluation: int
    distance: int
    look: int  # of the training picture
    other: int  # of the evaluation picture


class EvaluationPictures:
    """All evaluation pictures, ready to be compared with blocks of training pictures.

    Takes about 4.3 KB for each picture, and the embedding.

    Args:
        records: (n,) of `fingerprint_type(len(EVALUATION_LOOKS))`.
        embeddings: (n, D) fp32 of unit length; None to compare none.
        least_cosine: From which cosine on two pictures are taken for one.
        workers: Threads that compare hashes; 0 compares in the calling thread.
    """

    def __init__(
        self, records: NDArray[Any], embeddings: Tensor | None = None, least_cosine: float = 1.0, workers: int = 0
    ) -> None:
        self._thumbnails: NDArray[np.uint8] = records["thumbnail"]
        self._by_digest: dict[bytes, list[int]] = {}
        for row, digest in enumerate(records["digest"]):
            self._by_digest.setdefault(digest.tobytes(), []).append(row)
        self._textured = _textured_rows(self._thumbnails)
        self._hashes = np.ascontiguousarray(records["hashes"][self._textured].T).ravel()  # look by look
        self._embeddings, self._least_cosine = embeddings, least_cosine
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="compare") if workers else None

    @property
    def flat(self) -> int:
        """How many have so little texture that only exact copies of them are found."""
        return len(self._thumbnails) - len(self._textured)

    def thumbnail(self, evaluation: int) -> Grey:
        """(64, 64): what is left of an evaluation picture."""
        thumbnail: Grey = self._thumbnails[evaluation]
        return thumbnail

    def find(self, records: NDArray[Any], embeddings: Tensor | None = None) -> list[Match]:
        """The pairs in which a training picture shows an evaluation picture, ordered by training picture.

        Args:
            records: (B,) of `fingerprint_type(len(TRAINING_LOOKS))`.
            embeddings: (B, D) fp32 of unit length, where the evaluation pictures have some.
        """
        matches = {(match.picture, match.evaluation): match for match in self._edited(records)}
        for picture, digest in enumerate(records["digest"]):
            for evaluation in self._by_digest.get(digest.tobytes(), ()):
                matches[picture, evaluation] = Match(picture, evaluation, "copy")
        if self._embeddings is not None and embeddings is not None:
            _add_embedded(matches, embeddings, self._embeddings, self._least_cosine)
        return sorted(matches.values(), key=lambda match: (match.picture, match.evaluation))

    def _edited(self, records: NDArray[Any]) -> Iterator[Match]:
        rows = _textured_rows(records["thumbnail"])
        if not len(rows) or not len(self._textured):
            return
        candidates = self._candidates(records["hashes"][rows], rows)
        for (picture, evaluation), group in groupby(candidates, key=lambda candidate: candidate[:2]):
            match = _prove(records["thumbnail"][picture], self._thumbnails[evaluation], list(group))
            if match is not None:
                yield match

    def _candidates(self, hashes: NDArray[np.uint64], rows: NDArray[np.int64]) -> list[_Candidate]:
        """For each pair, and each way of looking at its training picture, the nearest hashes; nearest ways first.

        Args:
            hashes: (b, looks) of training pictures.
            rows: (b,) their rows in the block.
        """
        flat = np.ascontiguousarray(hashes).ravel()
        spans = [self._hashes[start : start + _SPAN] for start in range(0, len(self._hashes), _SPAN)]
        scan = partial(_scan, flat)
        scanned = self._pool.map(scan, spans) if self._pool else map(scan, spans)
        found = [hits + np.array([0, _SPAN * number, 0]) for number, hits in enumerate(scanned)]
        ours, theirs, distances = np.concatenate(found).T
        picture, look = rows[ours // hashes.shape[1]], ours % hashes.shape[1]
        other, evaluation = theirs // len(self._textured), self._textured[theirs % len(self._textured)]
        order = np.lexsort((other, distances, look, evaluation, picture))
        columns = np.stack([picture, evaluation, look, distances, other], axis=1)[order]
        _, first = np.unique(columns[:, :3], axis=0, return_index=True)
        nearest = [_Candidate(p, e, d, k, o) for p, e, k, d, o in columns[first].tolist()]
        return sorted(nearest)


def _textured_rows(thumbnails: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.array([row for row, thumbnail in enumerate(thumbnails) if not is_flat(thumbnail)], dtype=np.int64)


def _scan(ours: NDArray[np.uint64], theirs: NDArray[np.uint64]) -> NDArray[np.int64]:
    """(hits, 3): places in both and the distance, where it is small enough. NumPy lets other threads run meanwhile."""
    height, width = _TILE
    differing, counts = np.empty(_TILE, np.uint64), np.empty(_TILE, np.uint8)
    hits = []
    for left in range(0, len(theirs), width):
        columns = theirs[left : left + width]
        for top in range(0, len(ours), height):
            rows = ours[top : top + height, None]
            tile = np.s_[: len(rows), : len(columns)]
            np.bitwise_xor(rows, columns, out=differing[tile])
            np.bitwise_count(differing[tile], out=counts[tile])
            if counts[tile].min() <= MAX_DISTANCE:
                down, across = np.nonzero(counts[tile] <= MAX_DISTANCE)
                hits.append(np.stack([down + top, across + left, counts[down, across]], axis=1).astype(np.int64))
    return np.concatenate(hits) if hits else np.empty((0, 3), np.int64)


def _prove(training: Grey, evaluation: Grey, candidates: list[_Candidate]) -> Match | None:
    """The match that the pixels confirm, by the nearest look that does."""
    for candidate in candidates:
        look = TRAINING_LOOKS[candidate.look]
        picture = training[:, ::-1] if look.mirrored else training
        start = middle_within(look.crop, EVALUATION_LOOKS[candidate.other].crop)
        if agree_roughly(picture, evaluation, start) < LEAST_ROUGHLY:
            continue
        agreement = compare_details(picture, evaluation, start)
        if _is_enough(agreement):
            found = candidate.picture, candidate.evaluation
            return Match(*found, "hash", look.mirrored, candidate.distance, round(agreement.correlation, 4))
    return None


def _is_enough(agreement: Agreement) -> bool:
    least = LEAST_WEAK_CORRELATION if agreement.detail < WEAK_DETAIL else LEAST_CORRELATION
    return agreement.correlation >= least and agreement.everywhere >= LEAST_EVERYWHERE * agreement.correlation


def _add_embedded(matches: dict[tuple[int, int], Match], ours: Tensor, theirs: Tensor, least: float) -> None:
    """Add the pairs that the embedding alone finds, and the cosine of the others."""
    known = list(matches.items())
    for start in range(0, len(theirs), _COLUMNS):
        cosines = ours @ theirs[start : start + _COLUMNS].T  # (B, columns)
        for picture, column in (cosines >= least).nonzero().tolist():
            pair = (picture, column + start)
            cosine = round(float(cosines[picture, column]), 4)
            matches.setdefault(pair, Match(*pair, "embedding", cosine=cosine))
        for (picture, evaluation), match in known:
            if start <= evaluation < start + _COLUMNS:
                cosine = round(float(cosines[picture, evaluation - start]), 4)
                matches[picture, evaluation] = match._replace(cosine=cosine)
