"""Work that leads through several rooms. Only the command line enters here; no room does."""
