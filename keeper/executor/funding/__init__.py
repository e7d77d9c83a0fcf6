"""Where the money for a liquidation comes from: a module is a kind of `[[funding]]`."""
