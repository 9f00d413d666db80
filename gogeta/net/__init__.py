"""The bytes' way: asyncio protocols that carry out what ``gogeta.core`` decides.

The warm path has no task, no await and no timer per request: a head is parsed, one dictionary look-up finds the tenant,
a pooled connection takes the request, and each feed of bytes causes at most one write on the other side. Waiting
(connects, wakes) is where tasks and timers begin.
"""
