"""The pure heart: events in, commands out. No thread, clock, randomness or I/O."""
