"""The contract, version 1; its modules are generated from the .proto files when the package is built."""
