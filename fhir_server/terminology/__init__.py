"""Code lists, value sets, maps and naming systems, read from terminology/."""
