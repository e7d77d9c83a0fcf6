"""`keeper replay`: the evaluator and the margin call procedure over a price history; no node, no store.

history     prices by time, as floats for looking and exactly for judging
positions   who held and owed what, and when
market      a lending protocol of whole units and constant rates, behind the port of every adapter
ahead       at which moments anything can change: the screen, turned from positions to time
engine      those moments, judged by the very judge of the daemon
outcome     what became of each position, and of all of them
sweep       many settings in parallel, and the best of them; chart draws them
"""
