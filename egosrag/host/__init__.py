"""What a server of pages needs to serve many visitors with one model: who it is, whose turn it is, what is theirs."""
