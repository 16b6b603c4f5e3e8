"""The passes, one per file. A pass imports edpc only."""
