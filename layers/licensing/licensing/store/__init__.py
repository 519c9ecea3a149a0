"""DynamoDB: the items, and the conditions on their writes. Nothing here decides what is allowed."""
