"""Parts of scripts/undefend: each defence, the edit that takes it out, and the test that notices."""
