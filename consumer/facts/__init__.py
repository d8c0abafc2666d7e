"""What is known of a mentor, read in one statement. The one room that reads the application's view."""
