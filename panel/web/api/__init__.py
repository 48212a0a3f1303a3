"""The endpoints for programs: applications, other servers, supervisors."""
