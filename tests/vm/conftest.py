"""One booted Debian for all tests of this tier; script/test-vm makes its image."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import Guest
from steady import pytest_runtest_protocol  # noqa: F401 (an emulated machine is twenty times as easily late)


@pytest.fixture(scope="session")
def guest() -> Iterator[Guest]:
    """Booted once; what tests change must be undone by them."""
    image = Path(os.environ.get("VM_IMAGE", "/var/cache/device-agent/vm-bookworm"))
    if not (image / ".complete-image").exists():
        pytest.fail(f"there is no image in {image}: script/test-vm makes it")
    with tempfile.TemporaryDirectory(prefix="vm-") as directory:
        machine = Guest(image, Path(directory))
        try:
            machine.boot()
            yield machine
        finally:
            machine.switch_off()
