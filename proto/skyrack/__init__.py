"""What flight and ground agree on: the contract and the little code that both need."""
