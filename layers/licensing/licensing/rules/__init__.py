"""What is allowed, counted and refused, and when: plain functions over plain data.

Time, ids and randomness come in as arguments. Nothing here knows of AWS or HTTP.
"""
