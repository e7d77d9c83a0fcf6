"""The daemon under load for as long as you like: see scripts/endurance and docs/load.md."""
