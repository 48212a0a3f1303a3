"""People, their permissions and credentials, and the tokens of applications."""
