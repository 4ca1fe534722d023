"""Fails unless the wheel contains the package, and the sdist contains what git tracks except .ci."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

PACKAGE = "genesys_eventbridge/"
LEFT_OUT = ".ci/"
METADATA = {"PKG-INFO"}


def main(dist: Path) -> int:
    (wheel,) = dist.glob("*.whl")
    (sdist,) = dist.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = {name for name in archive.namelist() if ".dist-info/" not in name}
    with tarfile.open(sdist) as archive:
        in_sdist = {member.name.partition("/")[2] for member in archive if member.isfile()} - METADATA
    tracked = {name for name in listed() if not name.startswith(LEFT_OUT)}

    complaints = [
        *differences(wheel.name, in_wheel, {name for name in tracked if name.startswith(PACKAGE)}),
        *differences(sdist.name, in_sdist, tracked),
    ]
    if not listed("--others", "--exclude-standard"):
        complaints.append("there is no untracked file, so nothing shows that one would be left out")
    sizes = [
        f"{file.name}: {len(held)} files, {file.stat().st_size // 1024} KiB"
        for file, held in ((wheel, in_wheel), (sdist, in_sdist))
    ]
    print("\n".join(complaints or sizes))
    return bool(complaints)


def listed(*arguments: str) -> list[str]:
    done = subprocess.run(["git", "ls-files", "-z", *arguments], capture_output=True, text=True, check=True)
    return [name for name in done.stdout.split("\0") if name]


def differences(name: str, held: set[str], wanted: set[str]) -> list[str]:
    return [
        *(f"{name} lacks {file}" for file in sorted(wanted - held)),
        *(f"{name} contains {file}, which git does not track" for file in sorted(held - wanted)),
    ]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
