"""Programs that others wrote, unmodified, hold a conversation with the simulator."""
