"""The service in this process: calls without a server, on the packages of the extra `local`."""
