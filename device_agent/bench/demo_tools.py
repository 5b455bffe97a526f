"""The two client tools of the demo."""

from device_agent import tool


@tool
def set_timer(seconds: int) -> str:
    """Start a kitchen timer."""
    return f"A timer of {seconds} seconds is running."


@tool
def set_volume(percent: int) -> str:
    """Set the loudspeaker's volume."""
    return f"The volume is {percent} percent."
