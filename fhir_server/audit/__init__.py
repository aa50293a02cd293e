"""Every access on record: who, from where, what, why, when and how it ended."""
