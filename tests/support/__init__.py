"""What tests of several rooms share: installations, the clock, people, servers and lines."""
