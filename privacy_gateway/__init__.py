"""The privacy gateway: it answers questions about sums, never more exactly than homes' budgets allow
(docs/gateway.md).
"""
