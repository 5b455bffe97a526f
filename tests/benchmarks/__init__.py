"""The bench: the official SDK and this program side by side, measured from outside on the same virtual cards."""
