"""The exchange of records that the preferences govern. Nothing here knows Flask."""
