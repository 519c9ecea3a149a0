"""Cloud Licensing: what may run where, for whom, until when.

Rooms, each importing only what stands below it::

    functions/            one trigger each: parse, one call, answer
    licensing.http        HTTP in, HTTP out; errors to problem+json
    licensing.<capability>    activation, validation, deactivation, administration, loading
    licensing.tokens, proofs, key_ring, signing    who is calling, and what we sign
    licensing.store       DynamoDB: items, and the conditions on their writes
    licensing.deployment  the environment, the clock
    licensing.rules       plain functions over plain data
"""
