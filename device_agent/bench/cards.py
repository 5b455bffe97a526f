"""The sound cards of this machine, and what to write in the configuration for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from device_agent.audio.choice import Candidate
from device_agent.audio.devices import Devices
from device_agent.audio.hardware import Hardware, Machine
from device_agent.config.schema import Audio


def run() -> int:
    """Prints the listing; raises `AudioError` where PortAudio is missing."""
    machine, devices = Machine(), Devices(Audio())
    try:
        print("\n".join(listing(machine, devices.candidates(output=False), devices.candidates(output=True))))
    finally:
        devices.terminate()
    return 0


def listing(machine: Machine, inputs: Sequence[Candidate], outputs: Sequence[Candidate]) -> Iterator[str]:
    """Line by line: each card with its match; those that cannot be opened with the reason."""
    cards = machine.cards()
    for title, there, output in (("audio.input", inputs, False), ("audio.output", outputs, True)):
        yield f"{title}:"
        rows = [(match(candidate, cards.values(), there), candidate.name) for candidate in there]
        listed = {candidate.hardware for candidate in there}
        for number, hardware in cards.items():
            if hardware not in listed and machine.has(number, output):
                obstacle = machine.obstacle(number, output) or "does not answer"
                rows.append((of_hardware(hardware, cards.values()), f"{hardware.name} {obstacle}"))
        width = max((len(text) for text, _ in rows), default=0)
        yield from (f"  {text:{width}}  {name}" for text, name in rows)
        if not rows:
            yield "  there is none"


def match(candidate: Candidate, cards: Iterable[Hardware], there: Sequence[Candidate]) -> str:
    """What to write for one of PortAudio's devices."""
    hardware = candidate.hardware
    if hardware is None:
        return f'"{candidate.name}"'
    first = min(other.device for other in there if other.hardware == hardware)
    return of_hardware(hardware, cards) if candidate.device == first else f'"id:{hardware.id},{candidate.device}"'


def of_hardware(hardware: Hardware, cards: Iterable[Hardware]) -> str:
    """The product if there is one of it only, else its socket; ALSA's id for what is built in."""
    if not hardware.usb_id:
        return f'"id:{hardware.id}"'
    twins = [card for card in cards if card.usb_id == hardware.usb_id]
    return f'"usb:{hardware.usb_id if len(twins) == 1 else hardware.usb_path}"'
