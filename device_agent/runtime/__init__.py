"""Thread primitives: mailbox, rings, latch, worker, deadline."""
