"""The pages: blueprints and what they share. Everything that knows Flask lives in here."""
