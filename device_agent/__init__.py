"""device_agent: a voice device that talks with an ElevenLabs Agents agent.

The public surface is `tool`: ``from device_agent import tool``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from device_agent.version import __version__ as __version__

if TYPE_CHECKING:
    from device_agent.tools.registry import tool as tool


def __getattr__(name: str) -> Any:
    """`tool` on first use, so that ``import device_agent`` stays cheap."""
    if name == "tool":
        from device_agent.tools.registry import tool

        return tool
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
