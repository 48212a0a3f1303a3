"""The satellite's side: when it synchronises, and one run."""
