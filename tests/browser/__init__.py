"""Tests of the admin pages in a real browser: `make browser`. They need Chromium."""
