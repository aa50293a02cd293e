"""R4 search as a compiler: query pairs to a tree to one MongoDB query, with no I/O."""
