"""The machines, one per file, data only. A target imports `edpc.target` and its siblings only."""
