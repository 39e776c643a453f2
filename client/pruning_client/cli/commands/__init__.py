"""One module for each command: `add_options(parser)` declares its options, `run(options)` carries it out."""
