"""Tests of the addresses that programs call."""
