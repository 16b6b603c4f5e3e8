"""The pass manager: contracts, pipelines as text, verification, timing, printing, reproducers. Knows no pass by name."""
