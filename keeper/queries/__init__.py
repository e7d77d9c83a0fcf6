"""What people ask of the store, beside a running daemon or without one.

report      the commands: JSON Lines for scripts, tables for people
views       the JSON objects; daily: sums by day
record      one call with its evidence, and the export; trail, trailforms: the audit trail and its forms
deliveries  acknowledging, and notices that have not arrived
verify      a second opinion on our health factors
"""
