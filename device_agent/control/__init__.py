"""The control socket: how other programs on this machine ask and order. See docs/control.md."""
