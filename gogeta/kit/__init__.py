"""Small shared parts around asyncio and the process: tasks, time, back-off, options, logs. They know no tenant."""
