"""What the screen changes: verbs that take a session and an actor, keep the rules, never commit."""
