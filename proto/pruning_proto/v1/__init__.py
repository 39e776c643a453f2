"""Version 1 of the contract: `pruning.proto` and the code made from it by `make proto`."""
