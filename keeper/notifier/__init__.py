"""Channels, and the task that brings notices to them. A channel is a module here that exposes `Options` and `build`."""
