"""The one list of scenarios that every client goes through."""

from tests.interop.scenarios.batches import BATCHES
from tests.interop.scenarios.encodings import ENCODINGS
from tests.interop.scenarios.envelopes import ENVELOPES
from tests.interop.scenarios.functions import FUNCTIONS
from tests.interop.scenarios.items import ITEMS
from tests.interop.scenarios.replies import REPLIES
from tests.interop.scenarios.streams import STREAMS

ALL = [*ENVELOPES, *BATCHES, *REPLIES, *ENCODINGS, *FUNCTIONS, *STREAMS, *ITEMS]
