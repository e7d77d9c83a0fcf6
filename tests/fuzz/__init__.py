"""Everything that strangers write and we read, fuzzed: see `scripts/fuzz` and docs/threat-model.md.

A target is a module of `targets` with

    SEEDS       inputs that are right, from which others are made
    ALLOWED     errors that may come of an input; everything else is a defect
    run(data)   one input; raises AssertionError where a promise is broken

`test_targets` runs the kept inputs of `corpus` and new ones by Hypothesis; `drive` runs one target under atheris, by
coverage, for as long as it is told.
"""
