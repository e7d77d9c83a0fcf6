"""Channels, and the task that brings notices to them.

A channel is a module here that exposes `Options` (what its table in the configuration may hold) and
`build(config, name) -> Notifier`; the configuration finds it by `kind`, its module's name.
"""
