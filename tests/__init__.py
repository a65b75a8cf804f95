"""Tests, mirroring the package path for path. A package, so that no other distribution's `tests` takes its name."""
