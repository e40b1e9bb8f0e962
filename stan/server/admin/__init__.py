"""What people ask of a server and tell it to do, whoever they ask through."""
