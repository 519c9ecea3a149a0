"""The whole deployment on one machine, for development, demonstrations and tests. Nothing here is deployed.

``python -m infra.local`` (``make run``) starts it; :class:`infra.local.stack.Stack` is the same for tests.
"""
