"""Could everybody be liquidated today? Tried out on a fork, position by position; see docs/liquidator.md."""
