"""The faults of docs/reliability.md on real processes: etcd, Docker, and both programs, each broken in turn."""
