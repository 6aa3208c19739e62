"""The engine: it runs, stops, suspends, resumes and replays an experiment. Read `loop` first."""
