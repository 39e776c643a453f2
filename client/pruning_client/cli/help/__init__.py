"""What the command line says about itself: its commands by purpose, their help, examples, and completion in shells."""
