"""What agents are made of; one idea a file."""
