"""What every page stands on: htmx, errors, language, headers, assets."""
