"""`hlf-sync web`: coordinators see which visibility updates are open, and ask for one."""
