"""One module for each search parameter type of R4 section 3.1.1.4."""
