"""Tests of records in the database."""
