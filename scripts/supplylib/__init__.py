"""What Keeper stands on, as its lock files say."""
