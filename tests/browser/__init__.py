"""The screen in a real Chromium."""
