"""Loops that let members act and learn: environments inside the compiled program (`device`) or on the host (`host`)."""
