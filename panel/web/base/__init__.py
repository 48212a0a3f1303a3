"""The foundation of every page: htmx, errors, language, headers, assets."""
