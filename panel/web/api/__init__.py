"""The addresses that programs call: applications, other servers, supervisors."""
