"""AWS list prices, in US dollars, of one region, without free tiers and discounts. The only place that has them.

As published on AWS's price pages (aws.amazon.com/<service>/pricing) for US East (N. Virginia), us-east-1, by the date below. Other
regions differ by a fifth or so. Look again before you decide anything by them.
"""

from datetime import date

REGION = "US East (N. Virginia), us-east-1"
AS_OF = date(2025, 11, 1)

MILLION = 1_000_000

#: DynamoDB on demand, standard table class: a million units.
DYNAMODB_READ, DYNAMODB_WRITE = 0.125, 0.625
#: A million replicated write units of a global table, at the site that receives them.
DYNAMODB_REPLICATED_WRITE = 0.625
#: Data kept, a GB and month; continuous backups of it (point-in-time recovery).
DYNAMODB_STORAGE, DYNAMODB_BACKUP = 0.25, 0.20

#: API Gateway, HTTP API: a million requests of up to 512 KB each, up to so many a month and beyond.
HTTP_API = ((300, 1.00), (float("inf"), 0.90))

#: Lambda, x86: a million requests; a GB-second.
LAMBDA_REQUESTS, LAMBDA_GB_SECOND = 0.20, 0.0000166667
#: A function of this many MB has one whole processor; smaller ones in proportion (documented).
LAMBDA_FULL_CORE_MB = 1769

#: CloudWatch Logs: a GB of logs taken in.
LOGS_GB = 0.50
#: X-Ray: a million traces recorded. Without a rule of one's own, one request a second and 5 % of the others are.
XRAY_TRACES, XRAY_SHARE = 5.00, 0.05
#: SQS, standard: a million requests.
SQS = 0.40
#: KMS: 10,000 signatures by an elliptic key; a key and month.
KMS_10K, KMS_KEY = 0.15, 1.00
#: A secret and month.
SECRET = 0.40
#: A GB sent to the internet (first 10 TB a month); to another region.
OUT_GB, REGIONS_GB = 0.09, 0.02

#: Not a price: how long a call of DynamoDB takes as a function sees it, in milliseconds. "Single-digit" is what AWS promises.
DYNAMODB_MS = 5.0
#: Not a price: an entry of the API's access log (template.yaml), in bytes, with CloudWatch's own 26.
ACCESS_LOG_BYTES = 330
