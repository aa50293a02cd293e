"""Plain values that every layer shares: resources, dates, references, bundles, outcomes."""
