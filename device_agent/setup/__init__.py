"""Setting a machine up: which board it carries, and what the boot configuration must say for it."""
