"""What spans and their attributes are called, by OpenTelemetry's conventions of one version.

Those for messaging are still in development, which is why their names are pinned here and nowhere
else: with another version the address below changes, and these names with it.
"""

from typing import Final

SCHEMA: Final = "https://opentelemetry.io/schemas/1.44.0"

# Of messaging (development).
SYSTEM: Final = "messaging.system"
OPERATION_NAME: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
DESTINATION: Final = "messaging.destination.name"
SUBSCRIPTION: Final = "messaging.destination.subscription.name"
BATCH_COUNT: Final = "messaging.batch.message_count"

# Of HTTP, and of errors (stable).
METHOD: Final = "http.request.method"
ROUTE: Final = "http.route"
STATUS_CODE: Final = "http.response.status_code"
ERROR_TYPE: Final = "error.type"

# Our own, where there are none.
EVENT_TYPE: Final = "router.event.type"
POSITION: Final = "router.event.position"
ATTEMPT: Final = "router.attempt"
OUTCOME: Final = "router.outcome"
REPLAY: Final = "router.replay.id"

# Values.
OUR_SYSTEM: Final = "notification_router"
SEND: Final = "send"
PROCESS: Final = "process"
WEBHOOK: Final = "/webhooks/{source}"
