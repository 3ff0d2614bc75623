"""What the system refuses a program, in words that say what to do."""

from __future__ import annotations

import errno

_MENDED = {
    errno.ENOSPC: "make room and run the same command again",
    errno.EDQUOT: "make room within the quota and run the same command again",
    errno.EFBIG: "raise the limit of a file's size (ulimit -f) or choose another place",
    errno.EROFS: "choose a place that can be written",
    errno.EACCES: "choose another place, or ask for the right to use this one",
    errno.EPERM: "choose another place, or ask for the right to use this one",
    errno.EMFILE: "raise the limit of open files (ulimit -n) or give fewer --workers",
    errno.ENFILE: "the whole machine has too many open files; run it again later",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOMEM: "the memory is full; give a smaller --batch-size, or fewer --workers",
    errno.ESTALE: "the network's disk has lost the file; run the same command again",
    errno.EIO: "the disk cannot read or write it; look at the disk",
}


def explain_refusal(error: OSError) -> str:
    """One line: what was refused, for which file, and what to do.

    Args:
        error: What the system said.
    """
    what = error.strerror or str(error) or type(error).__name__
    named = " and ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    mended = _MENDED.get(error.errno or 0, "look at the path and at the disk, and run the same command again")
    return f"{named}: {what}; {mended}" if named else f"{what}; {mended}"
