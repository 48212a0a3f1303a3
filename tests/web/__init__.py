"""Tests of the pages and addresses, through Flask's test client."""
