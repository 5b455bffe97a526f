"""Pixels to the bits that addressable LEDs take on SPI. Pure.

A pixel is (red, green, blue), each 0 … 255.
"""

from __future__ import annotations

from collections.abc import Sequence

Colour = tuple[int, int, int]

APA102_HZ = 4_000_000
WS2812_HZ = 2_400_000
RESET = bytes(90)
"""300 µs low at 2.4 MHz: newer WS2812 want 280 µs, older ones 50."""


def apa102(pixels: Sequence[Colour], brightness: int = 31) -> bytes:
    """APA102 and SK9822: 32 zero bits; 111, five bits of brightness, blue, green, red each; then n/2 clock edges.

    The clock edges are those that the data sheet's end frame gives, 32 ones, and more where the chain needs more.
    """
    head = 0xE0 | brightness
    body = b"".join(bytes((head, blue, green, red)) for red, green, blue in pixels)
    return bytes(4) + body + b"\xff" * max(4, -(-len(pixels) // 16))


def ws2812(pixels: Sequence[Colour]) -> bytes:
    """WS2812 at 2.4 MHz: each bit is three SPI bits of 417 ns, 100 for 0 and 110 for 1; green, red, blue; reset.

    One low byte goes before, because some controllers leave the line high when they are idle.
    """
    body = b"".join(_BITS[green] + _BITS[red] + _BITS[blue] for red, green, blue in pixels)
    return b"\0" + body + RESET


def _spread(byte: int) -> bytes:
    return int("".join("110" if bit == "1" else "100" for bit in f"{byte:08b}"), 2).to_bytes(3, "big")


_BITS = tuple(_spread(byte) for byte in range(256))
