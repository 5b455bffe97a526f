"""The sheet of all states, drawn from the table: `python -m device_agent.panel.sheet > docs/lights.svg`."""

from __future__ import annotations

from collections.abc import Iterator

from device_agent.core.commands import Indicator
from device_agent.panel.encode import Colour
from device_agent.panel.looks import LOOKS, frame
from device_agent.panel.patterns import lit

ROW, LEFT, WIDTH = 34, 130, 900
RHYTHM_MS, CELL_MS = 5000, 50
FRAMES = (0, 300, 700, 1300)
COUNT = 12
LEVEL = 0.6
DARK = 40
"""Added to each colour, so that a dim light can be seen on paper."""


def sheet() -> str:
    """For each state the rhythm of a single LED in its first 5 s, and four moments of a chain of 12."""
    height = ROW * (len(Indicator) + 1)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" '
        'font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#222"/>',
        f'<text x="{LEFT}" y="22" fill="#ccc">one LED, on or off: 5 s</text>',
        f'<text x="{LEFT + 240}" y="22" fill="#ccc">12 pixels: after {", ".join(map(str, FRAMES))} ms; muted</text>',
    ]
    for number, indicator in enumerate(Indicator):
        lines += _row(indicator, ROW * (number + 1))
    return "\n".join([*lines, "</svg>\n"])


def _row(indicator: Indicator, y: int) -> Iterator[str]:
    yield f'<text x="10" y="{y + 20}" fill="#fff">{indicator.value}</text>'
    cells = RHYTHM_MS // CELL_MS
    for cell in range(cells):
        if lit(indicator, cell * CELL_MS):
            yield f'<rect x="{LEFT + 2 * cell}" y="{y + 8}" width="2" height="16" fill="#fc6"/>'
    x = LEFT + 240
    for t in FRAMES:
        yield from _pixels(frame(indicator, LOOKS[indicator], t, LEVEL, COUNT, indicator is Indicator.MUTED), x, y)
        x += COUNT * 8 + 8
    yield from _pixels(frame(indicator, LOOKS[indicator], 0, LEVEL, COUNT, True), x, y)


def _pixels(pixels: list[Colour], x: int, y: int) -> Iterator[str]:
    for number, pixel in enumerate(pixels):
        red, green, blue = (min(255, part + DARK) for part in pixel)
        yield f'<circle cx="{x + 8 * number + 4}" cy="{y + 16}" r="3.5" fill="#{red:02x}{green:02x}{blue:02x}"/>'


if __name__ == "__main__":
    print(sheet(), end="")
