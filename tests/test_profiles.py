"""Ready-made profiles: each loads without a mistake, and opens and closes a conversation as it promises."""

from __future__ import annotations

from pathlib import Path

import pytest
from scenario import Stage

from device_agent.config.load import load
from device_agent.config.paths import Paths, profiles
from device_agent.config.schema import Settings
from device_agent.core.tables import Link
from device_agent.errors import ConfigError

OPENS = {
    "button-and-led": ["press", "release"],
    "respeaker-2mic": ["press hat", "release hat"],
    "speakerphone-wake-word": ["wake word"],
    "push-to-talk-intercom": ["press", "release"],
    "kiosk": ["somebody comes"],
    "always-on-booth": [],
}


def settings(tmp_path: Path, name: str) -> Settings:
    return load(Paths(tmp_path, tmp_path), {}, [f"profile={name}"]).settings


@pytest.mark.parametrize("name", OPENS)
def test_each_profile_holds_a_conversation(tmp_path: Path, name: str) -> None:
    """What opens it is told in its file; without a word it is closed again, well before it costs much."""
    stage = Stage(settings(tmp_path, name))
    stage.do("clock 2026-11-27T12:00:00")
    stage.do("start")
    for fact in OPENS[name]:
        stage.do(fact)
        stage.until(stage.now + 0.1)
    stage.until(stage.now + 0.5)
    assert stage.core.snapshot.link is Link.OPENING
    stage.do("opened")
    stage.do("ready")
    stage.do("quiet 1 s")
    stage.until(stage.now + 64.0)
    assert stage.core.snapshot.link is Link.DOWN  # closed, though the link never answers


def test_the_profiles_that_are_tested_are_all_that_there_are() -> None:
    """A new one needs a line here."""
    assert set(OPENS) == set(profiles())


def test_a_setting_of_ones_own_counts_more_than_the_profile(tmp_path: Path) -> None:
    """The profile lies below all other layers, and says so."""
    (tmp_path / "config.toml").write_text('profile = "kiosk"\n[activation]\naway_s = 3\n')
    loaded = load(Paths(tmp_path, tmp_path), {})
    assert loaded.settings.activation.away_s == 3
    assert loaded.settings.panel.presence_pin == 4
    assert loaded.origins["panel.presence_pin"].split("/")[-1].startswith("kiosk.toml:")


def test_an_unknown_profile_is_a_mistake(tmp_path: Path) -> None:
    """One line, with the names that there are."""
    with pytest.raises(ConfigError) as caught:
        load(Paths(tmp_path, tmp_path), {"DEVICE_AGENT_PROFILE": "disco"})
    assert caught.value.problems == (
        "environment: there is no such profile; there are always-on-booth, button-and-led, kiosk, "
        "push-to-talk-intercom, respeaker-2mic, speakerphone-wake-word",
    )
