"""What a person asks of the sync: a run, a trial, an applicant's row, the other side's names."""
