"""What a deployment is configured to be: one TOML file, checked whole before anything starts.

load        the file, as one value; everything that is wrong with it at once
table       closed tables, and those that plugins describe; types: how values are written
routing     whom each channel concerns; notices: names and the digest; breakers, solvency: their tables
thresholds  the rule by which positions are called
shipped     the configurations that come with Keeper
reference   docs/configuration.md, generated from the models
"""
