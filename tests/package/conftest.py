"""The Debian package of this checkout, and roots of Debian to install it in."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaged import packaged
from root import Root, base

ROOT = Path(__file__).parent.parent.parent
SUITE = os.environ.get("SUITE", "bookworm")


@pytest.fixture(scope="session")
def package() -> Path:
    """The package for this architecture, built by the script that builds releases."""
    return packaged(SUITE)


@pytest.fixture(scope="session")
def next_package(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same program under the next version's number."""
    tree = tmp_path_factory.mktemp("next") / "tree"
    subprocess.run(("dpkg-deb", "--raw-extract", package, tree), check=True)
    (modules,) = (tree / "usr/lib/device-agent").glob("[0-9]*")
    modules.rename(modules.with_name("99.0"))
    version = tree / "usr/lib/device-agent/99.0/device_agent/version.py"
    version.write_text(version.read_text().replace(modules.name, "99.0"))
    for file in ("control", "postinst", "prerm"):
        text = (tree / "DEBIAN" / file).read_text()
        (tree / "DEBIAN" / file).write_text(text.replace(modules.name, "99.0"))
    launcher = tree / "usr/bin/device-agent"
    launcher.write_text(launcher.read_text().replace(modules.name, "99.0"))
    (tree / "DEBIAN" / "md5sums").unlink()
    made = tree.with_name("next.deb")
    subprocess.run(("dpkg-deb", "--root-owner-group", "--build", tree, made), check=True, capture_output=True)
    shutil.rmtree(tree)
    return made


@pytest.fixture(scope="session")
def debian() -> Path:
    """A root of Debian with the distribution's packages that ours depends on; made once, then kept in .cache."""
    return base(SUITE, ROOT / ".cache")


@pytest.fixture
def root(debian: Path, tmp_path: Path) -> Iterator[Root]:
    """A throw-away root: no network, no sound card, no GPIO, no running systemd."""
    yield Root(debian, tmp_path)
