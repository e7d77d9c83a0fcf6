"""What a person orders of the chain beside the daemon: our contract, its permissions, and what it earned."""
