"""Configuration: documented settings, layers with origins, secrets."""
