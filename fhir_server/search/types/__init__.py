"""One module for each search parameter type of R4 Search."""
