"""What a deployment is configured to be: one TOML file, checked whole before anything starts.

load        the file, as one value; everything that is wrong with it at once
deployment  that value, and what must hold between its tables; a module for each table or kindred ones
plugins     the tables whose keys modules by name describe; routing: whom each channel concerns
table       closed tables, and those that plugins describe; types: how values are written
thresholds  the rule by which positions are called
shipped     the configurations that come with Keeper
reference   docs/configuration.md, generated from the models
"""
