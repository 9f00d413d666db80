"""What the scenarios of the life cycle share: an application that keeps a ledger, the programs, and visitors."""
