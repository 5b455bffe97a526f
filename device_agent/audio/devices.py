"""Finds, opens and closes the cards; the one owner of PortAudio."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device_agent.audio import host
from device_agent.config.schema import Audio
from device_agent.errors import AudioError

log = logging.getLogger(__name__)

RATE = 16_000
INPUT_FPB_S = 0.04  # the host's buffer is three times this: 120 ms of room
OUTPUT_FPB_S = 0.02
# A raw card is opened at its own rate, because ALSA's conversion has no filter; a sound server's is good.
SERVER_RATES = (16_000, 48_000, 44_100, 32_000, 8_000)
CARD_RATES = (48_000, 44_100, 32_000, 16_000, 8_000)
HEADSETS = ("headset", "headphone", "earphone", "airpods")

NO_DEVICE, DEVICE_BUSY, HOST_ERROR = -9996, -9985, -9999
BAD_RATE, BAD_CHANNELS = -9997, -9998


@dataclass(slots=True)
class Card:
    """An open stream of a card: s16le at `rate` Hz with `channels` channels."""

    stream: host.Stream
    name: str
    rate: int
    channels: int = 1


def half_duplex(settings: Audio, name: str) -> bool:
    """Whether the microphone must be closed to the agent while it speaks through this card."""
    if settings.echo == "auto":
        return not any(word in name.lower() for word in HEADSETS)
    return settings.echo == "half-duplex"


def _explain(thing: str, error: OSError) -> AudioError:
    """PortAudio's numbers in words, with a remedy."""
    text = {
        NO_DEVICE: "does not exist any more: plug it in again",
        BAD_RATE: "supports none of the usual sample rates: try another card, or plug:… in ~/.asoundrc",
        BAD_CHANNELS: "supports neither mono nor stereo: try another card",
        DEVICE_BUSY: "is in use by another program: close it (fuser -v /dev/snd/*)",
        HOST_ERROR: "does not work (host error): is it plugged in, and the sound server running?",
    }.get(error.errno or 0, f"cannot be opened ({error}): unplug it and plug it in again")
    return AudioError(f"{thing} {text}")


class Devices:
    """Both threads open and close their own streams here; PortAudio itself may start anew only between streams.

    PortAudio sees new cards only after a new start, which ends every stream. `renew` therefore asks every thread
    to close its stream (they watch `renewing`), waits for that, starts anew, and lets them open again.

    The lock is needed because PortAudio's own list of streams has none. It is held while a card opens (2–20 ms)
    or PortAudio starts, never while samples move.
    """

    def __init__(
        self,
        settings: Audio,
        start: Callable[[], host.Host] = host.start,
        cards: Path = Path("/proc/asound/cards"),
        patience_s: float = 2.0,
    ) -> None:
        self._settings = settings
        self._start = start
        self._cards = cards
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._noise = host.Noise()
        self._host: host.Host | None = None
        self._listed = ""
        self._open = 0
        self._wakers: list[Callable[[], None]] = []
        self.renewing = False
        """Every thread with an open stream shall close it now."""
        self.renewals = 0

    # ------------------------------------------------------------------------------------- any thread
    def names(self, output: bool) -> list[str]:
        """The cards that there are, by name."""
        with self._changed:
            return [info["name"] for info in self._infos(self._started(), output)]

    def half_duplex(self, name: str) -> bool:
        return half_duplex(self._settings, name)

    def watch(self, waker: Callable[[], None]) -> None:
        """Have `waker` called when `renewing` becomes true."""
        self._wakers.append(waker)

    def prepare(self) -> None:
        """Start PortAudio ahead of the first stream, because it takes 40 ms or more. What fails is said at opening."""
        with self._changed, contextlib.suppress(AudioError, OSError):
            self._started()

    # ------------------------------------------------------------- the thread that will use the stream
    def open_input(self) -> Card:
        """Open the configured microphone; AudioError names what is wrong and the remedy."""
        return self._open_card("microphone", self._settings.input, output=False)

    def open_output(self) -> Card:
        """Open the configured loudspeaker; AudioError names what is wrong and the remedy."""
        return self._open_card("loudspeaker", self._settings.output, output=True)

    def close(self, card: Card) -> None:
        """Close a stream; the thread that opened it, and no other."""
        with self._changed:
            try:
                card.stream.close()
            except OSError as error:  # a card that was pulled out: `renew` sweeps
                log.debug("close-failed card=%r error=%s", card.name, error)
            self._open -= 1
            self._changed.notify_all()

    def stale(self) -> bool:
        """Whether a new start may help: the cards have changed, or nobody would be disturbed by it."""
        return self._open == 0 or self._read_cards() != self._listed

    def renew(self, seen: int) -> None:
        """Start PortAudio anew, unless somebody has since `seen` (a value of `renewals`).

        The caller's own stream is closed. Raises RuntimeError if another thread does not let go within 2 s: that
        one hangs inside PortAudio, and only a new process helps.
        """
        with self._changed:
            if self.renewals != seen or self.renewing:
                return  # another thread's renewal; opening waits for it
            self.renewing = True
            try:
                for wake in self._wakers:
                    wake()
                if not self._changed.wait_for(lambda: self._open == 0, self._patience_s):
                    raise RuntimeError("a thread does not give back its sound card")
                self._restart()
                self.renewals += 1
            finally:
                self.renewing = False
                self._changed.notify_all()

    def terminate(self) -> None:
        """End PortAudio; all streams are closed."""
        with self._changed:
            if self._host is not None:
                self._host.terminate()
                self._host = None

    # ---------------------------------------------------------------------------------- under the lock
    def _restart(self) -> None:
        if self._host is not None:
            with self._noise.caught():
                self._host.terminate()
            self._host = None
        if swept := host.sweep():
            log.info("swept descriptors=%d", swept)
        self._started()

    def _started(self) -> host.Host:
        if self._host is None:
            self._listed = self._read_cards()
            with self._noise.caught():
                self._host = self._start()
        return self._host

    def _read_cards(self) -> str:
        try:
            return self._cards.read_text()
        except OSError:
            return ""  # a machine without ALSA drivers: only a sound server's cards

    @staticmethod
    def _infos(pa: host.Host, output: bool) -> list[Any]:
        key = "maxOutputChannels" if output else "maxInputChannels"
        infos = (pa.get_device_info_by_index(index) for index in range(pa.get_device_count()))
        return [info for info in infos if info[key] > 0]

    def _open_card(self, thing: str, wanted: str, output: bool) -> Card:
        with self._changed:
            self._changed.wait_for(lambda: not self.renewing)
            pa = self._started()
            info = self._find(pa, thing, wanted, output)
            name = info["name"]
            rates = CARD_RATES if output or "(hw:" in name else SERVER_RATES
            with self._noise.caught():
                card = self._probe(pa, f"{thing} {name!r}", info, rates, output)
            self._open += 1
            return card

    def _find(self, pa: host.Host, thing: str, wanted: str, output: bool) -> Any:
        """The one card whose name contains `wanted`, or the system's default."""
        names = [info["name"] for info in self._infos(pa, output)]
        if not names:
            listing = "aplay -l" if output else "arecord -l"
            raise AudioError(f"no {thing}: no sound card offers one; plug one in (`{listing}` lists what there is)")
        if not wanted:
            try:
                return pa.get_default_output_device_info() if output else pa.get_default_input_device_info()
            except OSError as error:
                setting = "audio.output" if output else "audio.input"
                raise AudioError(f"no default {thing}: set {setting} to one of {', '.join(names)}") from error
        found = [info for info in self._infos(pa, output) if wanted.lower() in info["name"].lower()]
        exact = [info for info in found if info["name"] == wanted]
        if len(exact or found) != 1:
            many = f"{len(found)} cards match" if found else "no card matches"
            raise AudioError(f"{thing} {wanted!r}: {many}; there are: {', '.join(names)}")
        return (exact or found)[0]

    @staticmethod
    def _probe(pa: host.Host, thing: str, info: Any, rates: Sequence[int], output: bool) -> Card:
        """Open with the first rate and channel count that the card takes."""
        fpb_s = OUTPUT_FPB_S if output else INPUT_FPB_S
        side = "output" if output else "input"
        last = OSError(BAD_RATE, "no rate tried")
        for channels in (1, 2):
            for rate in rates:
                settings = {side: True, f"{side}_device_index": info["index"]}
                try:
                    stream = pa.open(format=host.PA_INT16, channels=channels, rate=rate,
                                     frames_per_buffer=round(rate * fpb_s), **settings)  # fmt: skip
                except OSError as error:
                    last = error
                    if error.errno not in (BAD_RATE, BAD_CHANNELS):
                        raise _explain(thing, error) from error
                else:
                    return Card(stream, info["name"], rate, channels)
        raise _explain(thing, last) from last
