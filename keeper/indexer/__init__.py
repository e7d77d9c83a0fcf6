"""The way from the chain into Keeper: JSON-RPC, heads, blocks and logs."""
