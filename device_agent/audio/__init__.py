"""Sound cards: capture, playback, resampling."""
