"""The engine: it runs an experiment, opens its log, stops, suspends, resumes and replays it. Begin with `loop`."""
