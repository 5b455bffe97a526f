"""What the loudspeaker gets: (agent × duck + our own sounds) × volume. The one place where levels change."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from device_agent.audio.clips import ClipPlayer, Shelf
from device_agent.audio.gain import Gain, curve
from device_agent.core.commands import PlayClip
from device_agent.runtime.deadline import Clock

if TYPE_CHECKING:
    from device_agent.audio.hardware_volume import HardwareVolume

SOFTWARE = "software"


class Mixer:
    """Owned by the playback thread, which calls `aim`, `mix` and `end`; the rest is for any thread.

    An echo canceller's reference is what `mix` gives.
    """

    def __init__(
        self,
        shelf: Shelf | None = None,
        clip_level_db: float = 0.0,
        clip_ended: Callable[[int], None] = lambda number: None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.duck = Gain()
        """The agent's voice only."""
        self._volume = Gain()
        self._wanted = 100
        self._hardware: HardwareVolume | None = None
        self._by_card = False
        self._clips = ClipPlayer(shelf or Shelf(), 10 ** (clip_level_db / 20), clip_ended, clock)
        self._rate = 16_000

    def prepare(self, language: str) -> None:
        """Read what is said in this language, before a stream is open."""
        self._clips.prepare(language)

    def volume(self, volume: int) -> None:
        """Everything, 0 … 100."""
        self._wanted = volume
        self._level()
        if self._hardware is not None:
            self._hardware.set(volume)

    def use_card(self, mixer: str) -> None:
        """Let a control of the sound card make the volume, and software where that fails. Before the first stream."""
        from device_agent.audio.hardware_volume import HardwareVolume

        self._hardware = HardwareVolume(mixer, self._card_works)

    def _card_works(self, works: bool) -> None:
        self._by_card = works
        self._level()

    def _level(self) -> None:
        # A control's lowest step may still be heard: 0 is silent whatever the card does.
        self._volume.set(1.0 if self._by_card and self._wanted else curve(self._wanted))

    def play(self, clip: PlayClip) -> None:
        """One of our own sounds, over whatever plays."""
        self._clips.order(clip)

    def aim(self, rate: int) -> None:
        """The samples are at `rate` Hz from now on (a new stream)."""
        self._rate = rate
        self._volume.jump()
        self.duck.jump()
        self._clips.aim(rate)

    def mix(self, pcm: bytes, sound: bool) -> bytes:
        """As many samples as `pcm` has. Not `sound`: the agent is silent, and silence is left as it is."""
        if sound:
            pcm = self.duck.apply(pcm, self._rate)
        else:
            self.duck.jump()
            if self._clips.idle:
                self._volume.jump()
                return pcm
        return self._volume.apply(self._clips.mix(pcm), self._rate)

    def end(self) -> None:
        """The stream is about to close."""
        self._clips.abandon()
