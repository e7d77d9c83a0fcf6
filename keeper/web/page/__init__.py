"""The page in the browser: templates for what works without scripts, and assets that make it live. No build step."""
