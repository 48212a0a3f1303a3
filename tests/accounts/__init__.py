"""Tests of people, their sign-in, the authorisation code and tokens."""
