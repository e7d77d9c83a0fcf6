"""`keeper init`: a commented configuration, by asking or from flags, that passes `keeper check`.

answers (flags, a person) ─▶ draft (pure: the text) ─▶ files (nothing overwritten, secrets in .env) ─▶ check
"""
