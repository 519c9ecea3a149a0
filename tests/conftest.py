"""What must stand before anything is imported: tables and loggers are named at import, as in Lambda."""

import os

from hypothesis import settings

os.environ["LICENSING_TABLE"] = "licensing-Licensing"
os.environ["STATE_TABLE"] = "licensing-State"
os.environ["OPERATIONS_TABLE"] = "licensing-Operations"
os.environ["SITE"] = "primary"
os.environ["SEATS_TABLE"] = "licensing-Seats"
os.environ["AWS_REGION"] = os.environ["AWS_DEFAULT_REGION"] = "eu-south-1"
os.environ["POWERTOOLS_SERVICE_NAME"] = "licensing"

# The same examples each time, so that a red test is about a change. `--hypothesis-profile search` looks for new ones, and more.
# How long one takes says how busy the machine is, and nothing about the code.
settings.register_profile("same", deadline=None, derandomize=True, database=None)
settings.register_profile("search", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile("same")
