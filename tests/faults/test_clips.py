"""Strange and broken clips: each is read, or named in one line; none is lost, and none stops the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from coca_cli.errors import BadExample
from coca_cli.media.images import ImageSettings
from coca_cli.media.video import Sampling, read_frames
from tests.commands.running import run
from tests.commands.squares import save_model
from tests.faults.clips import Clip, clips

CLIPS = clips()


@pytest.mark.parametrize("clip", CLIPS, ids=[clip.name for clip in CLIPS])
def test_a_clip_is_read_or_named(clip: Clip, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / clip.name
    clip.make(file)
    if not clip.readable:
        with pytest.raises(BadExample) as refused:
            read_frames(file, ImageSettings(size=32), Sampling(frames=4))
        assert clip.name in str(refused.value)
        assert len(str(refused.value).splitlines()) == 1
        return
    assert read_frames(file, ImageSettings(size=32), Sampling(frames=4)).shape == (4, 3, 32, 32)
    assert capfd.readouterr().err == ""  # nor does a library speak of it


def test_a_folder_of_everything_loses_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "found"
    folder.mkdir()
    for clip in CLIPS:
        clip.make(folder / clip.name)
    (folder / "mp4-called.mp4").unlink()  # what it was made from
    names = {clip.name for clip in CLIPS if clip.readable}
    model = save_model(tmp_path / "model")
    assert run("embed", folder, "-m", model, "-o", tmp_path / "out.npz", "--frames", 2, "--precision", "fp32") == 0
    with np.load(tmp_path / "out.npz") as found:
        assert {Path(name).name for name in found["ids"]} == names
        assert np.isfinite(found["embeddings"]).all()
    said = capsys.readouterr()
    assert f"{len(names)} embeddings, {len(CLIPS) - len(names)} files could not be read" in said.out
    assert "Traceback" not in said.err
