"""One reader a file format; `weightspace.checkpoint.sniff` has the table."""
