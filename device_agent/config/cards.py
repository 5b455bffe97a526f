"""How the configuration names a sound card: by what stays when cards are plugged in, moved and renumbered."""

from __future__ import annotations

import re

from device_agent.records import record

_NUMBER = re.compile(r"(?:(?:plug)?hw:)?\d+(?:,\d+)*")
_ID = re.compile(r"(?:(?:plug)?hw:(?:CARD=)?|id:)([^\s,]+)(?:,(?:DEV=)?(\d+))?")
_USB_ID = re.compile(r"usb:([0-9a-f]{4}:[0-9a-f]{4})", re.IGNORECASE)
_USB_PATH = re.compile(r"usb:(\d+-\d+(?:\.\d+)*)")


@record
class Match:
    """One choice: `kind` says what `value` is compared with; `device` is the number of a PCM on an ALSA card."""

    text: str
    kind: str
    """name (a part of it), pattern (a regular expression for it), id (ALSA's), usb-id (vendor:product), usb-path."""
    value: str
    device: int | None = None

    def fits(self, name: str) -> bool:
        """Whether a card's name is meant; for the kinds that go by name."""
        if self.kind == "pattern":
            return re.search(self.value, name) is not None
        return self.kind == "name" and self.value.lower() in name.lower()


def parse(text: str) -> Match:
    """Understand one entry of audio.input or audio.output. Raises ValueError with what is wrong and the remedy."""
    if _NUMBER.fullmatch(text):
        raise ValueError(
            f"{text!r} is a number, which the next start may give to another card: name the card, or its id "
            "(`device-agent bench cards` lists what to write)"
        )
    if text.startswith("re:"):
        try:
            re.compile(text[3:])
        except re.error as error:
            raise ValueError(f"{text!r} is not a regular expression: {error}") from None
        return Match(text, "pattern", text[3:])
    if found := _USB_ID.fullmatch(text):
        return Match(text, "usb-id", found[1].lower())
    if found := _USB_PATH.fullmatch(text):
        return Match(text, "usb-path", found[1])
    if text.startswith("usb:"):
        raise ValueError(f"{text!r} must be usb:VENDOR:PRODUCT (usb:0d8c:0014) or usb:PATH (usb:1-1.2)")
    if found := _ID.fullmatch(text):
        return Match(text, "id", found[1], int(found[2]) if found[2] else None)
    if not text.strip():
        raise ValueError("an empty entry fits every card: remove it")
    return Match(text, "name", text)
