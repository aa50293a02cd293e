"""Checks of a resource against its definitions, as issues."""
