"""The official clients against the simulator."""

from steady import pytest_runtest_protocol  # noqa: F401 (the hook that knows of stalls)
