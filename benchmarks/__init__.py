"""How fast, in ratios: scripts that print JSON lines and a Markdown table (docs/benchmarks.md)."""
