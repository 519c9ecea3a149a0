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

# How long an example takes says how busy the machine is, and nothing about the code.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
