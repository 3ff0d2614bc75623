from __future__ import annotations

from pathlib import Path

from tests.datasets.make_samples import SAMPLES, main


def test_samples_are_what_the_script_writes(tmp_path: Path) -> None:
    main(tmp_path)

    written = {file.relative_to(tmp_path): file for file in tmp_path.rglob("*") if file.is_file()}
    assert len(written) > 30
    for name, file in written.items():
        assert (SAMPLES / name).is_file(), f"run python -m tests.datasets.make_samples: {name} is not committed"
        # The encoding of pictures and clips changes with the versions of the libraries.
        if name.suffix in ("", ".json", ".txt", ".csv"):
            assert (SAMPLES / name).read_bytes() == file.read_bytes()
