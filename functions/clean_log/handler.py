"""SQS: seal and clean the operation logs of some customers, and queue what there was no time for (A9, F6)."""

import json
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from licensing import deployment, log_cleanup

logger = Logger()
metrics = Metrics(namespace="Licensing")
processor = BatchProcessor(event_type=EventType.SQS)

#: Milliseconds that a batch of deletes, all its tries included, and the last message need.
_MARGIN = 20_000


def clean(record: SQSRecord, lambda_context: LambdaContext) -> None:
    """One message: a part of the directory of customers, or one customer."""

    def going_on() -> bool:
        return lambda_context.get_remaining_time_in_millis() > _MARGIN

    done = log_cleanup.Cleaned()
    try:
        log_cleanup.work(json.loads(record.body), deployment.now(), going_on, done)
    finally:
        logger.info("log_cleaned", sealed_days=done.sealed_days, cut_days=done.cut_days, deleted=done.deleted)
        metrics.add_metric("DaysSealed", MetricUnit.Count, done.sealed_days)
        metrics.add_metric("DaysCut", MetricUnit.Count, done.cut_days)
        metrics.add_metric("OperationsDeleted", MetricUnit.Count, done.deleted)


@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> PartialItemFailureResponse:
    """Entry point; what failed is delivered again."""
    return process_partial_response(event=event, record_handler=clean, processor=processor, context=context)
