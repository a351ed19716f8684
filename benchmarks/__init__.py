"""lorakit beside PEFT and loralib: the same work in the same run. `python -m benchmarks` runs all of it."""
