"""Throw-away roots of Debian: an overlay on a tree that is made once."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

PACKAGES = "python3,python3-pyaudio,python3-gpiozero,libspeexdsp1,adduser,systemd,ca-certificates"
MORE = {"trixie": ",python3-audioop-lts"}  # no longer part of Python itself

ENTER = """
mount -t overlay overlay -o "lowerdir=$BASE,upperdir=$HOME_OF/upper,workdir=$HOME_OF/work" "$HOME_OF/root"
mount -t proc proc "$HOME_OF/root/proc"
mount -t tmpfs tmpfs "$HOME_OF/root/tmp"
mount --bind "$HOME_OF/shared" "$HOME_OF/root/mnt"
exec chroot "$HOME_OF/root" /bin/sh -ec "$1"
"""


def base(suite: str, cache: Path) -> Path:
    """The tree of `suite` in `cache`, made by mmdebstrap if it is not there."""
    made = cache / f"root-{suite}"
    if made.exists():
        return made
    cache.mkdir(exist_ok=True)
    unfinished = cache / f"root-{suite}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    targets = ("apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages")
    sites = subprocess.run(targets, capture_output=True, text=True, check=True).stdout.split()
    mirror = next(site for site in sites if site.rstrip("/").endswith("/debian"))
    command = (
        "mmdebstrap",
        "--quiet",
        "--mode=root",
        "--variant=minbase",
        f"--include={PACKAGES}{MORE.get(suite, '')}",
        suite,
    )
    subprocess.run((*command, str(unfinished), mirror), check=True)
    unfinished.rename(made)
    return made


class Root:
    """One overlay. Files that are put into `shared` are seen at /mnt inside."""

    def __init__(self, tree: Path, home: Path) -> None:
        self._environ = {"BASE": str(tree), "HOME_OF": str(home), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        self.upper = home / "upper"
        self.shared = home / "shared"
        for name in ("upper", "work", "root", "shared"):
            (home / name).mkdir()

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a shell command inside, without a network."""
        enter = ("unshare", "--mount", "--pid", "--net", "--fork", "sh", "-ec", ENTER, "sh", command)
        return subprocess.run(
            enter, env=self._environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )

    def install(self, package: Path) -> subprocess.CompletedProcess[str]:
        """`dpkg --install`, as apt calls it once all dependencies are there."""
        shutil.copy(package, self.shared / "package.deb")
        return self.run("DEBIAN_FRONTEND=noninteractive dpkg --force-downgrade --install /mnt/package.deb 2>&1")
