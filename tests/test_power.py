"""Shutting down: asked for, and where it is refused the log says so."""

from __future__ import annotations

import sys

import pytest

from device_agent.system.power import power_off


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ((sys.executable, "-c", "raise SystemExit('Access denied')"), "Access denied"),
        ((sys.executable, "-c", "raise SystemExit(4)"), "exit code 4"),
        (("/nowhere/systemctl",), "No such file"),
    ],
)
def test_a_refusal_is_logged_with_its_remedy(
    command: tuple[str, ...], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Who asks for it in vain learns why."""
    power_off(command).join(10)
    assert reason in caplog.text
    assert "polkit" in caplog.text


def test_what_is_granted_is_not_mentioned(caplog: pytest.LogCaptureFixture) -> None:
    """No news is good news."""
    power_off((sys.executable, "-c", "")).join(10)
    assert not caplog.records
