from __future__ import annotations

from pathlib import Path

from tests.datasets.make_samples import SAMPLES, main


def test_samples_are_what_the_script_writes(tmp_path: Path) -> None:
    main(tmp_path)

    written = {file.relative_to(tmp_path): file for file in tmp_path.rglob("*") if file.is_file()}
    assert len(written) > 30
    for name, file in written.items():
        assert (SAMPLES / name).is_file(), f"run tests/datasets/make_samples.py: {name} is not committed"
        if not name.suffix or name.suffix == ".json":  # the encoding of pictures changes with the version of Pillow
            assert (SAMPLES / name).read_bytes() == file.read_bytes()
