"""The preferences that the screen shows: functions that check, save and log, and never commit."""
