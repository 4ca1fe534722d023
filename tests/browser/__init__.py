"""The pages in a real browser: `make browser`. Needs Chromium, which `make test` does not."""
