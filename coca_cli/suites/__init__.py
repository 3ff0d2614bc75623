"""Suites: lists of benchmarks (NAME.toml beside this file, or the user's own file), planned and run as one."""
