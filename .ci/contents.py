"""Fails unless the wheel holds the package, all of it, and nothing else."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

PACKAGE = "genesys_eventbridge/"


def main(dist: Path) -> int:
    (wheel,) = dist.glob("*.whl")
    (sdist,) = dist.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    with tarfile.open(sdist) as archive:
        top = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    tracked = set(
        subprocess.run(
            ["git", "ls-files", PACKAGE], capture_output=True, text=True, check=True
        ).stdout.split()
    )

    complaints = [f"{wheel.name} lacks {name}" for name in sorted(tracked - held)]
    complaints += [
        f"{wheel.name} holds {name}, which is not in the repository" for name in sorted(held - tracked)
    ]
    complaints += [
        f"{sdist.name} lacks {name}" for name in ("tests", "Makefile", "LICENSE") if name not in top
    ]
    print("\n".join(complaints) or f"{wheel.name}: {len(held)} files, {wheel.stat().st_size // 1024} KiB")
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
