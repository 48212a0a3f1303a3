"""The page and its fragments: what they show and how they are drawn."""
