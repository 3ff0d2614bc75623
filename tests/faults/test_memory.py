"""200,000 pictures pass through a command, and its memory stays bounded."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.commands.squares import save_model
from tests.faults.pictures import encoded, photograph
from tests.faults.shards import member

MANY, FEW = 200_000, 20_000
PER_SHARD = 50_000
ALLOWED = 600 + 4 * 128
"""Bytes that each further picture may add: id, place, label, scores; and its embedding in fp32."""

TOLD = """
import resource, sys
from coca_cli.cli import main
try:
    main(sys.argv[1:])
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def write_shards(folder: Path, count: int) -> Path:
    """Pictures of two classes, the same few bytes each."""
    folder.mkdir()
    picture = encoded(photograph(size=(16, 16)), "JPEG")
    (folder / "classnames.txt").write_text("red\nblue\n")
    for first in range(0, count, PER_SHARD):
        with tarfile.open(folder / f"test-{first // PER_SHARD:04}.tar", "w") as archive:
            for number in range(first, min(first + PER_SHARD, count)):
                for name, content in ((f"{number:07}.jpg", picture), (f"{number:07}.cls", b"%d" % (number % 2))):
                    archive.addfile(member(name, content)[0], io.BytesIO(content))
    return folder


def peak(*words: object) -> int:
    """Bytes that `coca WORDS...` had at most."""
    done = subprocess.run(
        [sys.executable, "-c", TOLD, *map(str, words)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_memory_hardly_grows_with_the_pictures(tmp_path: Path) -> None:
    model = save_model(tmp_path / "model")
    peaks = {}
    for count in (FEW, MANY):
        shards = write_shards(tmp_path / f"shards-{count}", count)
        kept = ("--cache-dir", tmp_path / f"cache-{count}", "--results", tmp_path / "results", "--quiet")
        peaks[count] = peak("eval", "zeroshot", "-m", model, "-d", f"wds:{shards}", "--batch-size", 256, *kept)
    grown = (peaks[MANY] - peaks[FEW]) / (MANY - FEW)
    print(
        f"{FEW:,} pictures: {peaks[FEW] / 2**20:,.0f} MiB; {MANY:,}: {peaks[MANY] / 2**20:,.0f}; {grown:.0f} bytes each"
    )
    assert grown < ALLOWED
