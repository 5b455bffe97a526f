"""device_agent: a voice device that talks with an ElevenLabs Agents agent.

The public surface is `tool`: ``from device_agent import tool``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from device_agent.tools.registry import tool as tool

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`tool` on first use, so that ``import device_agent`` stays cheap."""
    if name == "tool":
        from device_agent.tools.registry import tool

        return tool
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
