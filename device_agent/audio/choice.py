"""Which card: the one that the configuration names, or the one that a person would expect."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from device_agent.audio.hardware import Hardware, Machine
from device_agent.config.cards import Match, parse
from device_agent.errors import AudioError

SERVERS = ("pulse", "pipewire")
_RAW = re.compile(r"\((?:plug)?hw:(\d+),(\d+)\)$")
_LISTING = "`device-agent bench cards` lists what to write"


class NotThere(AudioError):
    """No card fits: only a change of the machine helps."""


class NotUnique(NotThere):
    """More than one fits."""


@dataclass(frozen=True, slots=True)
class Side:
    """A direction, and how a person calls it."""

    thing: str
    setting: str
    output: bool


MICROPHONE = Side("microphone", "audio.input", output=False)
LOUDSPEAKER = Side("loudspeaker", "audio.output", output=True)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of PortAudio's devices; `hardware` is None for what is only a name in ALSA's configuration."""

    info: Mapping[str, Any]
    hardware: Hardware | None = None
    device: int = 0

    @property
    def name(self) -> str:
        return str(self.info["name"])


def candidates(infos: Sequence[Mapping[str, Any]], cards: Mapping[int, Hardware]) -> list[Candidate]:
    """PortAudio's devices with what the kernel knows of them."""
    found = []
    for info in infos:
        raw = _RAW.search(info["name"])
        hardware = cards.get(int(raw[1])) if raw else None
        found.append(Candidate(info, hardware, int(raw[2])) if raw and hardware else Candidate(info))
    return found


def fits(match: Match, hardware: Hardware) -> bool:
    """Whether the configuration means this card."""
    known = {"id": hardware.id, "usb-id": hardware.usb_id, "usb-path": hardware.usb_path}
    return known[match.kind] == match.value if match.kind in known else match.fits(hardware.name)


def choose(thing: str, match: Match, there: Sequence[Candidate]) -> Candidate:
    """The one that `match` means; of several devices of one card, the first. Raises AudioError in one line."""
    found = [candidate for candidate in there if _means(match, candidate)]
    exact = [candidate for candidate in found if match.kind == "name" and candidate.name == match.value]
    found = exact or found
    if not found:
        names = ", ".join(candidate.name for candidate in there) or "none"
        raise NotThere(f"{thing} {match.text!r}: no card matches; there are: {names}")
    cards = {candidate.hardware or candidate.name for candidate in found}
    if len(cards) > 1:
        names = ", ".join(candidate.name for candidate in found)
        raise NotUnique(f"{thing} {match.text!r}: {len(cards)} cards match: {names}; be more exact ({_LISTING})")
    return min(found, key=lambda candidate: candidate.device)


def _means(match: Match, candidate: Candidate) -> bool:
    if match.device is not None and candidate.device != match.device:
        return False
    if match.kind in ("name", "pattern"):
        return match.fits(candidate.name)
    return candidate.hardware is not None and fits(match, candidate.hardware)


def expected(there: Sequence[Candidate], default: str, configured: bool) -> tuple[Candidate | None, str]:
    """Where nothing is configured: the card to take (None: ALSA's own default, named `default`) and what to say of it.

    A sound server, or a person who has `configured` ALSA, has chosen already. Else a card of its own is better than
    ALSA's default, which is just the first one and which may be a camera's microphone or an HDMI output: a USB
    card first, then what is built in.
    """
    raw = sorted((candidate for candidate in there if candidate.hardware), key=_rank)
    named = {candidate.name for candidate in there}
    if not raw or named & set(SERVERS) or configured:
        return None, ""
    best = raw[0]
    assert best.hardware is not None
    if why := best.hardware.last_resort:
        # ALSA's default knows how to talk to HDMI; a raw card does not.
        choice = None if default in named and "HDMI" in why else best
        return choice, f"{best.name!r} is {why}, taken because there is no other card"
    return best, ""


def _rank(candidate: Candidate) -> tuple[int, int, int]:
    hardware = candidate.hardware
    assert hardware is not None
    kind = 3 if hardware.last_resort else 2 if hardware.virtual else 0 if hardware.usb_path else 1
    return kind, hardware.number, candidate.device


class Search:
    """One look for a card: what is there, what is wanted, and `awaited`, cards that fit but are not free."""

    def __init__(
        self, side: Side, there: Sequence[Candidate], machine: Machine, default: Callable[[], Candidate | None]
    ) -> None:
        self.awaited: list[int] = []
        self._side = side
        self._there = there
        self._machine = machine
        self._default = default

    def choices(self, wanted: Sequence[str]) -> Iterator[Callable[[], tuple[Candidate, str]]]:
        """Each finds a card and a note about it, or raises AudioError."""
        if not wanted:
            yield self._expected
        for text in wanted:
            yield partial(self._named, parse(text))

    def _named(self, match: Match) -> tuple[Candidate, str]:
        try:
            return choose(self._side.thing, match, self._there), ""
        except NotUnique:
            raise
        except NotThere as error:
            # PortAudio leaves out what it could not open when it looked.
            for hardware in self._machine.cards().values():
                if fits(match, hardware):
                    raise self._unlisted(f"{match.text!r} ({hardware.name})", hardware) from error
            raise

    def _expected(self) -> tuple[Candidate, str]:
        side, names = self._side, ", ".join(candidate.name for candidate in self._there)
        if not self._there:
            raise self._nothing()
        default = self._default()
        found, note = expected(self._there, default.name if default else "", self._machine.alsa_is_configured())
        if found is None and default is None:
            raise AudioError(f"no default {side.thing}: set {side.setting} to one of {names}")
        choice = found or default
        assert choice is not None
        return choice, note and f"{note}: set {side.setting} to choose"

    def _nothing(self) -> NotThere:
        for hardware in self._machine.cards().values():
            if self._machine.has(hardware.number, self._side.output):
                return self._unlisted(repr(hardware.name), hardware)
        listing = "aplay -l" if self._side.output else "arecord -l"
        thing = self._side.thing
        return NotThere(f"no {thing}: no sound card offers one; plug one in (`{listing}` lists what there is)")

    def _unlisted(self, named: str, hardware: Hardware) -> NotThere:
        """The kernel has this card, PortAudio had not when it looked."""
        obstacle = self._machine.obstacle(hardware.number, self._side.output)
        if self._machine.has(hardware.number, self._side.output):
            self.awaited.append(hardware.number)
        return NotThere(f"{self._side.thing} {named} {obstacle or 'does not answer: unplug it and plug it in again'}")
