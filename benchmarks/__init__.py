"""How fast, and how much of it is ours: scripts that print JSON lines and a Markdown table; docs/benchmarks.md."""
