"""The operating system: systemd notification, files of state."""
