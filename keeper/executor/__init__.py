"""From a plan to a confirmed transaction: simulate, price, sign, journal, submit, watch, settle."""
