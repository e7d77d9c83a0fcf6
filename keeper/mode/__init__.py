"""How Keeper is: following the chain, catching up with it, degraded, or blind; and who hears of it."""
