"""One file per subcommand: its options and the wiring of the rooms below."""
