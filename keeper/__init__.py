"""Keeper: margin calls and liquidations for collateralized positions on chain."""

__version__ = "0.1.0"
