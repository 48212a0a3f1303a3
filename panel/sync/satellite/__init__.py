"""The satellite's side: the schedule, the lease, and a run in our own protocol."""
