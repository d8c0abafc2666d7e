"""One mentor at once, from other code: `from hlf_sync import …` (docs/library.md)."""
