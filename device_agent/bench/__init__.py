"""Tools of the bench: demo, virtual cards, meters."""
