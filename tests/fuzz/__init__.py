"""Valid messages to every address, spoilt in a thousand ways: nothing may fail, hang or grow."""
