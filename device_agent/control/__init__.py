"""The control socket: how other programs on this machine ask and order. See docs/control.md."""

LINE_BYTES = 4096
"""A request is no longer than this."""
