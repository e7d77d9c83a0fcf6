"""Which positions are in trouble, what is owed to them by way of warning, and what to say. Pure: no I/O, no clock.

columns     every position as two sparse rows of floats, cheap to change one at a time
screen      which rows may be below a threshold, soundly, over all rows or over a proven prefix (ranking)
bands       how near is near: thresholds, hysteresis, the protocol's own flag
episodes    one margin call from its opening to its closing, as a function of judgements
judge       the above for one protocol: a block in, exact judgements and steps out
notices     what readers must be told, given what they were told; wording puts it in words
"""
