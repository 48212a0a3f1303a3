"""Export and import of the preferences as one file."""
