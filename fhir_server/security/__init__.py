"""Who asks and what they may see: tokens, scopes, policy, registered clients."""
