"""A run from start to exit: its settings, the pytest plug-in and its session, replays, and `check` for tests of your own."""
