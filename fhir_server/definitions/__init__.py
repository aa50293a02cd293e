"""The R4 definitions as data, read from profiles/."""
