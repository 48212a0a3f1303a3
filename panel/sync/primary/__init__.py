"""The primary's side: authentication, admission, the exchange, and the log of runs."""
