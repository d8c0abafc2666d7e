"""What lasts: ledger, attempts, failures, circuit, halts, dead letters, metrics and logs. The one room that writes."""
