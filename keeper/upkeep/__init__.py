"""What is done beside the blocks, now and then.

jobs          when; housekeeping: those about notices
headwatch     saying so when blocks stop coming
conditions    what is wrong with Keeper or its prices, told once; feeds: prices nobody can rely on
digest        once a day; names, ens: what accounts are called
retention     forgetting
"""
