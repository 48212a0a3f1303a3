"""What tests of several rooms share: clock, people, installations, servers and lines."""
