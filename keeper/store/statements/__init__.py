"""Every statement the store runs, as SQLAlchemy Core. Names at the end of each give the order of the values it takes.

parts       what several are made of
chain       of the chain: meta, blocks, facts and their versions, scans
outbox      of notices and their deliveries
journal     of intents, their attempts, and the audit trail
"""
