"""Long work as supervised child processes with a run directory."""
