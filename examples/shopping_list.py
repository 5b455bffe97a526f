"""A shopping list that remembers quantities: structured parameters."""

from dataclasses import dataclass

from device_agent import tool

shopping: list["Item"] = []


@dataclass
class Item:
    name: str
    pieces: int = 1


@tool
def add_to_shopping_list(items: list[Item]) -> list[Item]:
    """Adds things to the shopping list and tells the whole list."""
    shopping.extend(items)
    return shopping
