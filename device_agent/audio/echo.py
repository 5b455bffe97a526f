"""How the agent is kept from hearing itself: which means holds for the two cards, and whether it works."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from contextlib import suppress

from device_agent.audio.cancellers import AEC_INSTALL, Canceller, SpeexCanceller, WebrtcCanceller, webrtc_available
from device_agent.audio.card import Card
from device_agent.audio.echo_watch import EchoWatch
from device_agent.audio.reference import Reference
from device_agent.audio.vad import level_dbfs
from device_agent.core.events import Echo, Event
from device_agent.errors import AudioError
from device_agent.runtime import speexdsp

log = logging.getLogger(__name__)

SILENT_DB = -60.0
HEADSETS = ("headset", "headphone", "earphone", "airpods")
_RAW = re.compile(r"\(hw:(\d+),\d+\)")


def means(setting: str, microphone: str, loudspeaker: str, webrtc: bool, speex: bool) -> str:
    """What `audio.echo` comes to for two cards of these names, with the libraries that there are.

    One of off, external, aec, speex, half-duplex. A card in a raw form (hw:1,0) shares its clock with itself only.
    """
    if setting == "auto" and any(word in loudspeaker.lower() for word in HEADSETS):
        return "off"
    if setting not in ("auto", "aec"):
        return setting
    if webrtc:
        return "aec"
    ears, mouth = _RAW.search(microphone), _RAW.search(loudspeaker)
    return "speex" if speex and ears and mouth and ears[1] == mouth[1] else "half-duplex"


class EchoControl:
    """Owned by the capture thread, which gives it every frame; `loudspeaker` tells what is open (any thread's)."""

    def __init__(
        self,
        setting: str,
        reference: Reference,
        loudspeaker: Callable[[], Card | None],
        post: Callable[[Event], None],
        make: Callable[[str, Reference], Canceller] = lambda name, reference: MAKERS[name](reference),
    ) -> None:
        self._setting = setting
        self._reference = reference
        self._loudspeaker = loudspeaker
        self._post = post
        self._make = make
        self._pair: tuple[Card, Card | None] | None = None
        self._canceller: Canceller | None = None
        self._watch = EchoWatch()
        self._told: Echo | None = None

    def prepare(self) -> None:
        """Before the first microphone opens: make what will probably be needed. Its library takes half a second to
        load, on a small board several, and the microphone does not wait.
        """
        speaker = self._loudspeaker()
        if self._pair or means(self._setting, "", speaker.name if speaker else "", webrtc_available(), False) != "aec":
            return
        with suppress(AudioError):  # `look` says it
            self._canceller = self._canceller or self._make("aec", self._reference)

    def look(self, microphone: Card) -> None:
        """Before each read: another pair of cards may need other means."""
        speaker = self._loudspeaker()
        if self._pair is None or self._pair[0] is not microphone or (speaker and self._pair[1] is not speaker):
            self._pair = microphone, speaker
            self._choose(microphone.name, speaker.name if speaker else "")

    def clean(self, frame: bytes) -> bytes:
        """The 20 ms without the loudspeaker's sound, as far as that is our business."""
        canceller = self._canceller
        if canceller is None:
            return frame
        cleaned = canceller.process(frame)
        if self._watch.frame(self._reference.level_db(), level_dbfs(frame), level_dbfs(cleaned)):
            self._tell(canceller.name if self._watch.works else "half-duplex")
        return cleaned

    @property
    def sounding(self) -> bool:
        """Whether the loudspeaker's sound was taken out of the last frame."""
        return self._canceller is not None and self._reference.level_db() > SILENT_DB

    def _choose(self, microphone: str, loudspeaker: str) -> None:
        chosen = means(self._setting, microphone, loudspeaker, webrtc_available(), speexdsp.available())
        if self._setting == "aec" and chosen != "aec":
            log.warning("echo-fallback means=%s reason=%r", chosen, f"livekit is not installed: {AEC_INSTALL}")
        if self._canceller is None or self._canceller.name != chosen:
            self._canceller = None
            if chosen in MAKERS:
                try:
                    self._canceller = self._make(chosen, self._reference)
                except AudioError as error:
                    log.warning("echo-fallback means=half-duplex reason=%r", str(error))
                    chosen = "half-duplex"
            self._watch = EchoWatch()
        if self._canceller is not None:
            self._reference.start()
        else:
            self._reference.wanted = False
        self._tell(chosen if self._watch.works else "half-duplex")

    def _tell(self, means: str) -> None:
        echo = Echo(means, self._watch.loss_db, self._canceller is not None and not self._watch.works)
        if echo != self._told:
            self._told = echo
            self._post(echo)


MAKERS: dict[str, Callable[[Reference], Canceller]] = {"speex": SpeexCanceller, "aec": WebrtcCanceller}
