"""hlf-sync: keeps HLF's public mentor listing in Dynamics 365 equal to what PostgreSQL says."""
