"""Programs for the people who develop edpc, run as `python -m tools.NAME`."""
