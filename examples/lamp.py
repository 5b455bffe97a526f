"""Switches a lamp (an LED or a relay) on GPIO pin 22."""

from typing import Literal

from gpiozero import LED

from device_agent import tool

lamp = LED(22)


@tool
def switch_lamp(state: Literal["on", "off"]) -> str:
    """Switches the lamp on or off."""
    lamp.value = state == "on"
    return f"The lamp is {state}."
