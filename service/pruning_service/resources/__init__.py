"""Memory, the device and the threads of the process."""
