"""Benchmark scripts. They measure ratios, and print JSON lines and a Markdown table (docs/benchmarks.md)."""
