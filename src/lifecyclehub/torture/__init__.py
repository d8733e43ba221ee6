"""The torture test: production code in virtual time, among faults, judged by the vendors' truth. Nothing imports it."""
