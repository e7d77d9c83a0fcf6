"""Which positions are in trouble, what their owners must be told, and in which words. Pure: no I/O, no clock.

columns          every position that owes something as sparse rows of floats, cheap to change one at a time
screen, ranking  which rows may be below a threshold: soundly, over all rows or over a proven prefix of the worst
bands            how near is near: thresholds, hysteresis, the protocol's own flag
volatility       how much prices move, and together, from the prices so far; volatility_json stores it
probability      how likely a breach is, by closed forms and by simulation
exposure         what moves a position's health, and so how volatile that is
adaptive, lines  thresholds that know that, position by position; spans: of many at once
seed             a first state of the volatility from what price feeds remember
episodes         one margin call from its opening to its closing, as a function of judgements; episode_json stores it
judge, standing  all of that for one protocol: a block in, exact judgements and steps out
notices          what must be said: the difference between what readers were told and what is true
tell, wording    the notices of a judged block, as JSON and in words
"""
